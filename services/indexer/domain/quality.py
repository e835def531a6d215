"""How fresh, complete and filled a sequence is, from what was written and looked for lately."""

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from services.indexer.domain.completeness import Completeness, HourCompleteness
from services.indexer.domain.writes import AppendCounts, SequenceRows

WINDOW_MS = 300_000
P99_MAX_AGE_MS = 1_000
MAX_ENVELOPES = 4_096  # per window; about 16 MB with full envelopes


@dataclass(frozen=True)
class Quality:
    """Seconds and shares of the last five minutes; zeros, and no coverage, without events in them.

    Freshness is from acceptance to readable, lag from when the event happened. `late_ratio`: came later than its type
    allows, or below the floor of the sequence. Completeness is of the last closed hour.
    """

    num_events: int = 0
    freshness_p50_s: float = 0.0
    freshness_p99_s: float = 0.0
    lag_p50_s: float = 0.0
    lag_p99_s: float = 0.0
    late_ratio: float = 0.0
    coverage_ratio: Mapping[str, float] = field(default_factory=dict)
    rows_by_definitions_version: Mapping[str, int] = field(default_factory=dict)
    completeness_ratio: float = 1.0
    completeness_num_events: int = 0
    hours: tuple[HourCompleteness, ...] = ()


@dataclass(frozen=True)
class _Written:
    at_ms: int
    num_rows: int
    freshness_ms: NDArray[np.int64]
    lag_ms: NDArray[np.int64]
    num_late: int
    num_null: Mapping[str, int]
    versions: Mapping[str, int]


class SequenceQuality:
    """Of one sequence, as this process wrote it and as it found it."""

    def __init__(self) -> None:
        self.completeness = Completeness()
        self._written: deque[_Written] = deque(maxlen=MAX_ENVELOPES)
        self._p99: tuple[int, float] = (0, 0.0)

    def record(
        self,
        rows: SequenceRows,
        counts: AppendCounts,
        now_ms: int,
        *,
        versions: Mapping[str, int] | None = None,
        max_lateness_ms: Mapping[str, int] | None = None,
    ) -> None:
        """Count an envelope that has just become readable. `versions`: rows by definitions version;
        `max_lateness_ms`: by event type, how late an event may be."""
        event_ms = np.asarray(rows.event_times_ms, dtype=np.int64)
        received_ms = np.asarray(rows.received_times_ms, dtype=np.int64)
        is_late = received_ms - event_ms > _limits(rows.rows.column("event_type"), max_lateness_ms or {})
        self._written.append(
            _Written(
                now_ms,
                rows.rows.num_rows,
                now_ms - received_ms,
                now_ms - event_ms,
                max(int(np.count_nonzero(is_late)), counts.num_late),
                {name: rows.rows.column(name).null_count for name in rows.rows.schema.names},
                versions or {},
            )
        )

    def freshness_p99_s(self, now_ms: int) -> float:
        """Of the last five minutes, at most a second old, as every answer carries it; 0 without events."""
        if now_ms - self._p99[0] >= P99_MAX_AGE_MS:
            recent = self._recent(now_ms)
            if not recent:
                return 0.0
            self._p99 = now_ms, float(np.percentile(np.concatenate([each.freshness_ms for each in recent]), 99)) / 1000
        return self._p99[1]

    def report(self, now_ms: int) -> Quality:
        """Everything that is known."""
        known = self.completeness.ratio(now_ms)
        quality = Quality(
            completeness_ratio=known.ratio,
            completeness_num_events=known.num_audited,
            hours=self.completeness.hours(),
        )
        recent = self._recent(now_ms)
        if not recent:
            return quality
        freshness_s = np.percentile(np.concatenate([each.freshness_ms for each in recent]), [50, 99]) / 1000
        lag_s = np.percentile(np.concatenate([each.lag_ms for each in recent]), [50, 99]) / 1000
        num_rows = sum(each.num_rows for each in recent)
        return replace(
            quality,
            num_events=num_rows,
            freshness_p50_s=float(freshness_s[0]),
            freshness_p99_s=float(freshness_s[1]),
            lag_p50_s=float(lag_s[0]),
            lag_p99_s=float(lag_s[1]),
            late_ratio=sum(each.num_late for each in recent) / num_rows,
            coverage_ratio=_coverage(recent),
            rows_by_definitions_version=dict(sum((Counter(each.versions) for each in recent), Counter())),
        )

    def _recent(self, now_ms: int) -> list[_Written]:
        return [each for each in self._written if each.at_ms >= now_ms - WINDOW_MS and each.num_rows]


def rows_by(column: pa.Array) -> dict[str, int]:
    """How often each value occurs; null and "" are left out."""
    return {str(each["values"]): each["counts"] for each in pc.value_counts(column).to_pylist() if each["values"]}


def versions_of(envelope: pa.RecordBatch) -> dict[str, int]:
    """Rows by definitions version; empty when the envelope does not say."""
    place = envelope.schema.get_field_index("definitions_version")
    return rows_by(envelope.column(place)) if place >= 0 else {}


def _limits(types: pa.Array, max_lateness_ms: Mapping[str, int]) -> NDArray[np.int64]:
    never = np.iinfo(np.int64).max
    return np.asarray([max_lateness_ms.get(name, never) for name in types.to_pylist()], dtype=np.int64)


def _coverage(recent: list[_Written]) -> dict[str, float]:
    """Of the columns that the newest envelope has: those of the definitions in use."""
    names = recent[-1].num_null
    known = {name: [each for each in recent if name in each.num_null] for name in names}
    return {
        name: 1.0 - sum(each.num_null[name] for each in parts) / sum(each.num_rows for each in parts)
        for name, parts in known.items()
    }
