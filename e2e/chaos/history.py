"""What happened in one run, as JSON lines: every call, event, read, fault and measurement, in one form."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

OK, FAIL, INFO = "ok", "fail", "info"


@dataclass(frozen=True)
class Record:
    """`t` is seconds from the start of the run. `outcome` info = nobody knows whether it took effect.

    | op | key | value |
    | --- | --- | --- |
    | `publish` | user | `event_id`, `event_time_ms`, `sent_s`, `code` of one event |
    | `read` | user | ids of the sequence at the end, in the order that the platform gives |
    | `feed` | user | `latency_ms`, `items`, `degraded`, `code`, `finite`: every score is a number, `versions` |
    | `fresh` | partition | milliseconds from acknowledged to readable |
    | `fault` | what was done | `begin` or `end`; process is the target |
    | `sample` | what was measured | the number |
    | `commit` | consumer group | `num_events` behind committed offsets, `missing`: ids among them without an effect |
    | `trace` | `feed` or `publish` | `services` in it or joined to it, `num_orphans`: spans whose parent is not there |
    """

    t: float
    process: str
    op: str
    key: str
    value: Any
    outcome: str = OK
    trace: str = ""
    zone: str = "local"


@dataclass
class History:
    """Records of one run in the order they were made."""

    records: list[Record] = field(default_factory=list)

    def add(self, record: Record) -> None:
        self.records.append(record)

    def of(self, op: str) -> Iterator[Record]:
        """Records of one kind."""
        return (record for record in self.records if record.op == op)

    def write(self, path: Path) -> None:
        path.write_text("".join(json.dumps(asdict(record)) + "\n" for record in self.records))

    @classmethod
    def read(cls, path: Path) -> "History":
        """The inverse of `write`. Raises: OSError, ValueError or TypeError for another file."""
        return cls([Record(**json.loads(line)) for line in path.read_text().splitlines()])

    @classmethod
    def of_records(cls, records: Iterable[Record]) -> "History":
        return cls(list(records))


@dataclass(frozen=True)
class Window:
    """When one fault was at work."""

    target: str
    action: str
    begin_s: float
    end_s: float

    def holds(self, t: float) -> bool:
        return self.begin_s <= t <= self.end_s


def windows(history: History) -> list[Window]:
    """Each fault from its begin to its end; one that never ended lasts for ever."""
    found: list[Window] = []
    for record in history.of("fault"):
        if record.value == "begin":
            found.append(Window(record.process, record.key, record.t, float("inf")))
        else:
            open_ = next(
                one
                for one in found
                if (one.target, one.action) == (record.process, record.key) and one.end_s == float("inf")
            )
            found[found.index(open_)] = Window(open_.target, open_.action, open_.begin_s, record.t)
    return found
