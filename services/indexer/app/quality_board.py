"""The quality of every sequence that this process writes, and its metrics."""

import pyarrow as pa
import pyarrow.compute as pc

from chassis.metrics import Metrics
from sequences.definitions.definitions import Definitions
from services.indexer.domain.quality import Quality, SequenceQuality, versions_of
from services.indexer.domain.writes import AppendReport, EnvelopeWrites

MAX_VERSIONS = 20  # as labels, over the life of a process
QUANTILES = ("0.5", "0.99")


class QualityBoard:
    """One SequenceQuality per sequence, made at first use."""

    def __init__(self) -> None:
        self._by_sequence: dict[str, SequenceQuality] = {}

    def of(self, sequence: str) -> SequenceQuality:
        """Always the same one for a name."""
        return self._by_sequence.setdefault(sequence, SequenceQuality())

    def record(
        self,
        envelope: pa.RecordBatch,
        writes: EnvelopeWrites,
        report: AppendReport,
        definitions: Definitions,
        now_ms: int,
    ) -> None:
        """Count an enriched envelope that has just become readable."""
        lateness = {name: each.max_lateness_s * 1000 for name, each in definitions.events.items()}
        for rows in writes.sequences:
            types = pa.array(definitions.sequences[rows.sequence].event_types)
            own = envelope.filter(pc.is_in(envelope.column("event_type"), types))
            versions = versions_of(own)
            counts = report[rows.sequence]
            self.of(rows.sequence).record(rows, counts, now_ms, versions=versions, max_lateness_ms=lateness)


class QualityMetrics:
    """Gauges of every sequence of the definitions in use; `publish` brings them up to date. Seconds and shares."""

    def __init__(self, board: QualityBoard, metrics: Metrics) -> None:
        self._board = board
        self._metrics = metrics
        one = ("sequence",)
        quantile = ("sequence", "quantile")
        self._freshness = metrics.gauge("sequence_freshness_seconds", "Accepted -> readable, last 5 min.", quantile)
        self._lag = metrics.gauge("sequence_lag_seconds", "Happened -> readable, last 5 min.", quantile)
        self._late = metrics.gauge("sequence_late_ratio", "Share that came later than allowed, last 5 min.", one)
        self._events = metrics.gauge("sequence_window_events", "Events behind the gauges of the last 5 min.", one)
        help_text = "Readable / accepted, last closed hour."
        self._completeness = metrics.gauge("sequence_completeness_ratio", help_text, one)
        help_text = "Audited events behind the completeness."
        self._audited = metrics.gauge("sequence_completeness_events", help_text, one)
        help_text = "Share of values that are not null, last 5 min."
        self._coverage = metrics.gauge("sequence_coverage_ratio", help_text, ("sequence", "column"))
        help_text = "What the definition promises."
        self._target_freshness = metrics.gauge("sequence_target_freshness_seconds", help_text, one)
        self._target_completeness = metrics.gauge("sequence_target_completeness_ratio", help_text, one)
        help_text = "Enriched rows by the definitions that enriched them."
        self._rows = metrics.counter("indexer_rows_by_definitions_total", help_text, ("definitions_version",))

    def count(self, envelope: pa.RecordBatch) -> None:
        """Rows by definitions version."""
        for version, number in versions_of(envelope).items():
            self._rows.labels(self._metrics.bounded(version, MAX_VERSIONS, label="definitions_version")).inc(number)

    def publish(self, definitions: Definitions, now_ms: int) -> None:
        """Set every gauge from the board."""
        for name, definition in definitions.sequences.items():
            quality = self._board.of(name).report(now_ms)
            self._set(name, quality)
            self._target_freshness.labels(name).set(definition.freshness_p99_s)
            self._target_completeness.labels(name).set(definition.completeness_ratio)
            for column in definition.columns:
                if column in quality.coverage_ratio:
                    self._coverage.labels(name, column).set(quality.coverage_ratio[column])

    def _set(self, name: str, quality: Quality) -> None:
        fresh, lag = (quality.freshness_p50_s, quality.freshness_p99_s), (quality.lag_p50_s, quality.lag_p99_s)
        for quantile, freshness_s, lag_s in zip(QUANTILES, fresh, lag, strict=True):
            self._freshness.labels(name, quantile).set(freshness_s)
            self._lag.labels(name, quantile).set(lag_s)
        self._late.labels(name).set(quality.late_ratio)
        self._events.labels(name).set(quality.num_events)
        self._completeness.labels(name).set(quality.completeness_ratio)
        self._audited.labels(name).set(quality.completeness_num_events)
