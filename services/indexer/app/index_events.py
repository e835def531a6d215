"""Puts the events of an enriched envelope into sequences, seen and blocked lists."""

import pyarrow as pa

from chassis.clock import Clock
from chassis.metrics import Metrics
from services.indexer.app.active_definitions import ActiveDefinitions
from services.indexer.app.quality_board import QualityBoard, QualityMetrics
from services.indexer.domain.writes import AppendReport, EnvelopeWrites
from services.indexer.ports import SequenceStore

FRESHNESS_BUCKETS_S = (0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0, 10.0, 60.0, 600.0)  # targets are 0.3 s and 2 s


class IndexEvents:
    """Returns once every event is readable; an envelope that comes again changes nothing."""

    def __init__(
        self, definitions: ActiveDefinitions, store: SequenceStore, board: QualityBoard, clock: Clock, metrics: Metrics
    ) -> None:
        self._definitions = definitions
        self._store = store
        self._board = board
        self._clock = clock
        self._quality_metrics = QualityMetrics(board, metrics)
        labels = ("sequence", "outcome")
        self._events = metrics.counter("indexer_events_total", "Events by what became of them.", labels)
        help_text = "Seconds from the receipt of an event until it can be read."
        self._freshness = metrics.histogram("indexer_freshness_seconds", help_text, ("sequence",), FRESHNESS_BUCKETS_S)

    async def __call__(self, envelope: pa.RecordBatch) -> None:
        """Raises: Unavailable."""
        await self._definitions.catch_up(envelope)
        routing = self._definitions.routing
        writes = routing.route(envelope, self._clock.now_ms())
        report = await self._store.append(writes)
        self._board.record(envelope, writes, report, routing.definitions, self._clock.now_ms())
        self._quality_metrics.count(envelope)
        self._count(writes, report)

    def _count(self, writes: EnvelopeWrites, report: AppendReport) -> None:
        now_ms = self._clock.now_ms()
        for rows in writes.sequences:
            counts = report[rows.sequence]
            outcomes = {
                "new": counts.num_new,
                "duplicate": counts.num_duplicate,
                "conflict": counts.num_conflict,
                "late": counts.num_late,
            }
            for outcome, number in outcomes.items():
                if number:
                    self._events.labels(rows.sequence, outcome).inc(number)
            freshness = self._freshness.labels(rows.sequence)
            for received_ms in rows.received_times_ms:
                freshness.observe((now_ms - received_ms) / 1000)
