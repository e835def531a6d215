"""What one envelope of events changes in the online store."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import pyarrow as pa

from services.indexer.domain.identity import dedupe_keys, id_digests

PinTimes = Mapping[str, Mapping[str, int]]
"""User id -> pin id -> newest event time, epoch milliseconds."""


@dataclass(frozen=True)
class SequenceRows:
    """The events of one sequence, in the order of the envelope; `id_digests` and the lists go by row."""

    sequence: str
    max_events: int
    oldest_ms: int
    rows: pa.RecordBatch
    user_ids: list[str]
    event_ids: list[str]
    event_times_ms: list[int]
    id_digests: list[bytes]
    payload_digests: list[bytes]
    received_times_ms: list[int]
    dedupe_key: str = "event_id"

    def of_user(self, user_id: str) -> pa.RecordBatch:
        """The rows of one user."""
        return self.rows.take(pa.array(self._places.get(user_id, []), pa.int64()))

    @cached_property
    def _places(self) -> Mapping[str, list[int]]:
        found: dict[str, list[int]] = {}
        for place, user_id in enumerate(self.user_ids):
            found.setdefault(user_id, []).append(place)
        return found

    def digests_of(self, rows: pa.RecordBatch) -> list[bytes]:
        """The id digests of rows that are already stored."""
        return id_digests(dedupe_keys(rows, self.dedupe_key))


@dataclass(frozen=True)
class EnvelopeWrites:
    """Everything that one envelope changes. Written again, it changes nothing."""

    sequences: tuple[SequenceRows, ...] = ()
    acted: PinTimes = field(default_factory=dict)
    blocked: PinTimes = field(default_factory=dict)
    viewed_by_surface: Mapping[str, PinTimes] = field(default_factory=dict)


@dataclass(frozen=True)
class AppendCounts:
    """What became of the rows of one sequence. `num_late`: below the sequence's floor."""

    num_new: int = 0
    num_duplicate: int = 0
    num_conflict: int = 0
    num_late: int = 0

    def __add__(self, other: "AppendCounts") -> "AppendCounts":
        return AppendCounts(
            self.num_new + other.num_new,
            self.num_duplicate + other.num_duplicate,
            self.num_conflict + other.num_conflict,
            self.num_late + other.num_late,
        )


AppendReport = Mapping[str, AppendCounts]
"""Sequence name -> what became of its rows."""
