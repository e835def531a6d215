"""How fresh, complete and filled a sequence is, from what was written lately."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from services.indexer.domain.writes import AppendCounts, SequenceRows

WINDOW_MS = 300_000
HOUR_MS = 3_600_000
MAX_ENVELOPES = 4_096  # per window; about 16 MB with full envelopes


@dataclass(frozen=True)
class Quality:
    """Freshness is from receipt to readable; without recent events it is 0, and completeness 1."""

    freshness_p50_s: float = 0.0
    freshness_p99_s: float = 0.0
    completeness_ratio: float = 1.0
    coverage_ratio: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class _Written:
    at_ms: int
    num_rows: int
    freshness_ms: NDArray[np.int64]
    num_null: Mapping[str, int]


class SequenceQuality:
    """Of one sequence, as this process wrote it.

    Completeness compares what arrived in events.enriched for the sequence with what is readable: an event that lost
    against another payload of its id is not. What was refused before that topic is not known here.
    """

    def __init__(self) -> None:
        self._written: deque[_Written] = deque(maxlen=MAX_ENVELOPES)
        self._arrived_by_hour: dict[int, int] = {}
        self._readable_by_hour: dict[int, int] = {}

    def record(self, rows: SequenceRows, counts: AppendCounts, now_ms: int) -> None:
        """Count an envelope that has just become readable."""
        freshness_ms = now_ms - np.asarray(rows.received_times_ms, dtype=np.int64)
        nulls = {name: rows.rows.column(name).null_count for name in rows.rows.schema.names}
        self._written.append(_Written(now_ms, rows.rows.num_rows, freshness_ms, nulls))
        hour = now_ms // HOUR_MS
        readable = counts.num_new + counts.num_duplicate
        self._arrived_by_hour[hour] = self._arrived_by_hour.get(hour, 0) + readable + counts.num_conflict
        self._readable_by_hour[hour] = self._readable_by_hour.get(hour, 0) + readable
        for old in [each for each in self._arrived_by_hour if each < hour - 1]:
            del self._arrived_by_hour[old], self._readable_by_hour[old]

    def completeness_ratio(self, now_ms: int) -> float:
        """Of the last closed hour; 1 when nothing arrived in it."""
        hour = now_ms // HOUR_MS - 1
        arrived = self._arrived_by_hour.get(hour, 0)
        return self._readable_by_hour[hour] / arrived if arrived else 1.0

    def report(self, now_ms: int) -> Quality:
        """Over the last five minutes, completeness over the last closed hour."""
        recent = [each for each in self._written if each.at_ms >= now_ms - WINDOW_MS]
        if not recent:
            return Quality(completeness_ratio=self.completeness_ratio(now_ms))
        p50_ms, p99_ms = np.percentile(np.concatenate([each.freshness_ms for each in recent]), [50, 99])
        num_rows = sum(each.num_rows for each in recent)
        num_null: dict[str, int] = {}
        for each in recent:
            for name, count in each.num_null.items():
                num_null[name] = num_null.get(name, 0) + count
        coverage = {name: 1.0 - count / num_rows for name, count in num_null.items()}
        return Quality(p50_ms / 1000, p99_ms / 1000, self.completeness_ratio(now_ms), coverage)
