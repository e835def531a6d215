"""Counts of ranking as metrics."""

from chassis.metrics import Metrics


class MetricsMeter:
    """Counters by reason and component; labels are bounded."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._trims = metrics.counter("trimmed_requests_total", "Requests to the leaf, by why trimmed.", ("reason",))
        self._bytes = metrics.counter("trimmed_bytes_total", "Bytes of tensors before and after.", ("side",))
        self._degradations = metrics.counter(
            "ranking_degradations_total", "Parts missing from answers.", ("component", "reason")
        )

    def trimmed(self, reason: str, num_bytes_before: int, num_bytes_after: int) -> None:
        """One request was trimmed, or not."""
        self._trims.labels(reason).inc()
        self._bytes.labels("before").inc(num_bytes_before)
        self._bytes.labels("after").inc(num_bytes_after)

    def degraded(self, component: str, reason: str) -> None:
        """A part of an answer was missing."""
        self._degradations.labels(self._metrics.bounded(component), reason).inc()
