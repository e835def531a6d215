"""What a rebuild of the online store reads, and where it goes on after it was cut."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self


@dataclass(frozen=True)
class Stretch:
    """Offsets of one partition, `end` not included. `num_gone`: asked for, but deleted by retention before."""

    partition: int
    begin: int
    end: int
    num_gone: int = 0


@dataclass
class RebuildProgress:
    """`next_offsets`: topic -> partition -> the first record that is not in the store; a lake's table covers those
    before. `num_shards_done` of the lake's events are in the store. `counts`: what was done so far, by name.
    """

    rebuild_id: str
    definitions_version: str
    next_offsets: dict[str, dict[int, int]]
    is_spilled: bool = False
    num_shards_done: int = 0
    are_feeds_done: bool = False
    counts: dict[str, int] = field(default_factory=dict)

    def add(self, **counts: int) -> None:
        """Count what was done."""
        for name, number in counts.items():
            self.counts[name] = self.counts.get(name, 0) + number

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return dict(vars(self))

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Of `to_json`, after JSON has made every key a text."""
        offsets = {
            topic: {int(partition): offset for partition, offset in by_partition.items()}
            for topic, by_partition in values["next_offsets"].items()
        }
        return cls(**(dict(values) | {"next_offsets": offsets}))
