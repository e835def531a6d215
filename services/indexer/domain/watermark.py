"""What batch has published: per event type the watermark W, and which runs may be read; and runs still under way."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace

NEVER_MS = -1
"""The watermark of an event type that batch has not touched: the stream owns everything."""


@dataclass(frozen=True)
class Run:
    """One reprocessing of [from_ms, until_ms) of an event type; a resumed run is the same run.

    `source_snapshot_id` is the lake's snapshot that it reads from first to last, `num_files_done` its position in it.
    Counts are rows: num_in = num_kept + num_filtered + num_failed.
    """

    run_id: str
    event_type: str
    from_ms: int
    until_ms: int
    definitions_version: str
    started_ms: int
    source_snapshot_id: int
    num_files_done: int = 0
    num_in: int = 0
    num_kept: int = 0
    num_filtered: int = 0
    num_failed: int = 0
    num_late: int = 0

    @property
    def num_rows(self) -> int:
        """Rows it has in the table: kept ones, and one for each filtered event, which hides it."""
        return self.num_kept + self.num_filtered

    def covers(self, other: "Run") -> bool:
        """Whether nothing of `other` is outside of this range."""
        return self.event_type == other.event_type and self.from_ms <= other.from_ms and other.until_ms <= self.until_ms


@dataclass(frozen=True)
class TypeState:
    """Of one event type. `in_charge_since_ms` tells when each definitions version was last put in charge."""

    watermark_ms: int = NEVER_MS
    runs: tuple[Run, ...] = ()
    in_charge_since_ms: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class BatchState:
    """Everything that is published, and at most one open run per event type, which no reader sees."""

    published: Mapping[str, TypeState] = field(default_factory=dict)
    open_runs: Mapping[str, Run] = field(default_factory=dict)

    def of(self, event_type: str) -> TypeState:
        """The state of a type; nothing published when it is unknown."""
        return self.published.get(event_type, TypeState())

    @property
    def watermarks_ms(self) -> Mapping[str, int]:
        """W by event type: the newest event time, inclusive, up to which batch may own events."""
        return {name: each.watermark_ms for name, each in self.published.items()}

    def readable_run_ids(self, event_types: Iterable[str] | None = None) -> list[str]:
        """Runs that readers see, of these types or of all."""
        names = self.published if event_types is None else event_types
        return [run.run_id for name in names for run in self.of(name).runs]


def with_open(state: BatchState, run: Run) -> BatchState:
    """The state with this run under way, in place of another open run of its type."""
    return replace(state, open_runs={**state.open_runs, run.event_type: run})


def without_open(state: BatchState, event_type: str) -> BatchState:
    """The state without the open run of a type."""
    return replace(state, open_runs={name: run for name, run in state.open_runs.items() if name != event_type})


def publish(state: BatchState, run: Run, activated_ms: Mapping[str, int]) -> BatchState:
    """W moves to the end of the run, never back, and readers see the run. `activated_ms` is by definitions version.

    Older runs inside the range retire with it, unless it failed on some rows: then their rows still count.
    """
    before = state.of(run.event_type)
    kept = tuple(each for each in before.runs if run.num_failed or not run.covers(each))
    in_charge = {**before.in_charge_since_ms, **activated_ms, run.definitions_version: run.started_ms}
    after = TypeState(max(before.watermark_ms, run.until_ms - 1), (*kept, run), in_charge)
    closed = without_open(state, run.event_type)
    return replace(closed, published={**state.published, run.event_type: after})


def to_json_object(state: BatchState) -> dict[str, object]:
    """What `from_json_object` reads."""
    return asdict(state)


def from_json_object(stored: Mapping[str, dict[str, dict[str, object]]]) -> BatchState:
    """The state as it was written. Raises: TypeError, KeyError for another shape."""
    return BatchState(
        {name: _type_state(each) for name, each in stored["published"].items()},
        {name: Run(**each) for name, each in stored["open_runs"].items()},  # type: ignore[arg-type]
    )


def _type_state(stored: Mapping[str, object]) -> TypeState:
    runs: Iterable[dict[str, object]] = stored["runs"]  # type: ignore[assignment]
    return TypeState(
        stored["watermark_ms"],  # type: ignore[arg-type]
        tuple(Run(**each) for each in runs),  # type: ignore[arg-type]
        stored["in_charge_since_ms"],  # type: ignore[arg-type]
    )
