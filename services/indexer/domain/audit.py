"""Which accepted events to look for, when, and what a look says."""

import heapq
import zlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sequences.definitions.definitions import Definitions
from services.indexer.domain.writes import SequenceRows

AUDITS_PER_S = 20.0  # a look costs about 1 ms of one core; 72,000 an hour tell 99.9 % from 99.8 %
MAX_PENDING = 10_000  # about 3 MB
FIRST_LOOK_MS = 10_000  # five times the promised p99
LAST_LOOK_MS = 3_600_000
EVENTS_OF_OPENED = 4  # one of so many events of an opened envelope is taken when the share is small


@dataclass(frozen=True)
class ExpectedEvent:
    """An accepted event that belongs into a sequence. `num_looks`: how often it was missing."""

    sequence: str
    user_id: str
    event_id: str
    event_time_ms: int
    accepted_ms: int
    num_looks: int = 0

    @property
    def was_missing(self) -> bool:
        """Whether a look found nothing."""
        return self.num_looks > 0


class Pending:
    """Expected events by when they are to be looked for; each look that fails doubles the wait."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, ExpectedEvent]] = []
        self._count = 0

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, event: ExpectedEvent, from_ms: int) -> bool:
        """Wait from `from_ms` on. False when there is no room, or the event was looked for long enough."""
        wait_ms = FIRST_LOOK_MS << event.num_looks
        if len(self._heap) >= MAX_PENDING or wait_ms > LAST_LOOK_MS:
            return False
        self._count += 1
        heapq.heappush(self._heap, (from_ms + wait_ms, self._count, event))
        return True

    def due(self, now_ms: int, limit: int) -> list[ExpectedEvent]:
        """Take those whose time has come, longest due first."""
        found: list[ExpectedEvent] = []
        while self._heap and self._heap[0][0] <= now_ms and len(found) < limit:
            found.append(heapq.heappop(self._heap)[2])
        return found


class SampleRate:
    """The share of events to audit, so that about `AUDITS_PER_S` are; all of them while there are few.

    To open an envelope costs more than to look at its events, so under load few are opened, and of those more is taken.
    """

    def __init__(self) -> None:
        self.share = 1.0
        self._num_seen = 0.0

    def opens(self, partition: int, offset: int) -> bool:
        """Whether to look into an envelope; it depends on where it is alone."""
        return zlib.crc32(b"%d %d" % (partition, offset)) < self._open_share * 2**32

    def choose(self, event_ids: list[str]) -> NDArray[np.int64]:
        """Positions of the chosen events of an opened envelope; whether one is depends on its id alone."""
        self._num_seen += len(event_ids) / self._open_share
        if self.share >= 1.0:
            return np.arange(len(event_ids), dtype=np.int64)
        digests = np.fromiter((zlib.crc32(each.encode()) for each in event_ids), np.uint32, len(event_ids))
        return np.flatnonzero(digests < self.share / self._open_share * 2**32)

    def adapt(self, elapsed_s: float) -> None:
        """Set the share from what was seen since the last time."""
        rate_per_s = self._num_seen / elapsed_s if elapsed_s > 0 else 0.0
        self.share = min(1.0, AUDITS_PER_S / rate_per_s) if rate_per_s else 1.0
        self._num_seen = 0.0

    @property
    def _open_share(self) -> float:
        return min(1.0, self.share * EVENTS_OF_OPENED)


def routed(sequences: Iterable[SequenceRows]) -> list[ExpectedEvent]:
    """The events that routing puts into sequences."""
    return [
        ExpectedEvent(rows.sequence, user_id, event_id, event_ms, received_ms)
        for rows in sequences
        if rows.dedupe_key == "event_id"  # by another key an id may rightly be absent
        for user_id, event_id, event_ms, received_ms in zip(
            rows.user_ids, rows.event_ids, rows.event_times_ms, rows.received_times_ms, strict=True
        )
    ]


def by_type(definitions: Definitions, events: pa.RecordBatch) -> list[ExpectedEvent]:
    """Events that could not be enriched: each is expected in every sequence of its type."""
    return [
        ExpectedEvent(sequence.name, row["user_id"], row["event_id"], row["event_time_ms"], row["received_time_ms"])
        for row in events.to_pylist()
        for sequence in definitions.sequences.values()
        if row["event_type"] in sequence.event_types and sequence.dedupe_key == "event_id"
    ]


def is_trimmed(event: ExpectedEvent, rows: pa.RecordBatch, max_events: int, oldest_ms: int) -> bool:
    """Whether the limits of the sequence, by number or by time, leave the event out of `rows`, ordered by time."""
    if event.event_time_ms < oldest_ms:
        return True
    return rows.num_rows >= max_events and bool(event.event_time_ms <= rows.column("event_time_ms")[0].as_py())
