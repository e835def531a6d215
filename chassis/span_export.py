"""Sends finished spans away without ever holding up the path, and counts what became of each."""

import threading
from collections.abc import Sequence

from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from chassis.metrics import Metrics

MAX_QUEUED_SPANS = 8_192  # about 8 MB; beyond it spans are dropped, the path never waits
EXPORT_TIMEOUT_MS = 2_000


class SpanExport(SpanProcessor):
    """OpenTelemetry's batch processor behind a bound of our own, because its own drops are not counted.

    `trace_spans_total{outcome}`: exported, failed (the receiver did not take it), dropped (the queue was full).
    """

    def __init__(self, exporter: SpanExporter, metrics: Metrics, every_ms: float) -> None:
        self._spans = metrics.counter("trace_spans_total", "Recorded spans, by what became of them.", ("outcome",))
        self._dropped = self._spans.labels("dropped")
        self._num_waiting = 0
        self._lock = threading.Lock()
        self._reporting = _Reporting(exporter, self)
        self._batches = BatchSpanProcessor(
            self._reporting,
            max_queue_size=MAX_QUEUED_SPANS,
            schedule_delay_millis=every_ms,
            export_timeout_millis=EXPORT_TIMEOUT_MS,
        )

    def on_end(self, span: ReadableSpan) -> None:
        """Queue a recorded span, or drop it when the queue is full."""
        if span.context is None or not span.context.trace_flags.sampled:
            return
        with self._lock:
            has_room = self._num_waiting < MAX_QUEUED_SPANS
            self._num_waiting += has_room
        if has_room:
            self._batches.on_end(span)
        else:
            self._dropped.inc()

    def left(self, num_spans: int, outcome: str) -> None:
        """Spans that do not wait any more."""
        with self._lock:
            self._num_waiting -= num_spans
        self._spans.labels(outcome).inc(num_spans)

    def force_flush(self, timeout_millis: int | None = None) -> bool:
        """Export what waits; blocks."""
        return self._batches.force_flush(timeout_millis)

    def shutdown(self) -> None:
        """Export what waits and end; blocks, until `give_up` at the latest."""
        self._batches.shutdown()  # type: ignore[no-untyped-call]

    def give_up(self) -> None:
        """Cut the export in progress; what waits has failed. From another thread than `shutdown`."""
        self._reporting.shutdown()


class _Reporting(SpanExporter):
    """Tells `export` what became of each batch."""

    def __init__(self, exporter: SpanExporter, export: SpanExport) -> None:
        self._exporter = exporter
        self._export = export
        self._is_shut = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = SpanExportResult.FAILURE
        try:
            result = self._exporter.export(spans)
        finally:
            self._export.left(len(spans), "exported" if result is SpanExportResult.SUCCESS else "failed")
        return result

    def shutdown(self) -> None:
        """Once: OTLP's exporter complains of a second time."""
        if not self._is_shut:
            self._is_shut = True
            self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)


def otlp_exporter(endpoint: str) -> SpanExporter:
    """OTLP over gRPC; TLS when the endpoint begins with https."""
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

    is_secure = endpoint.startswith("https")
    return OTLPSpanExporter(endpoint=endpoint, insecure=not is_secure, timeout=EXPORT_TIMEOUT_MS / 1000)
