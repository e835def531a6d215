"""Counts of ranking as metrics."""

from chassis.metrics import Metrics


class MetricsMeter:
    """What was missing, by component and reason; labels are bounded."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._degradations = metrics.counter(
            "ranking_degradations_total", "Parts missing from answers.", ("component", "reason")
        )

    def degraded(self, component: str, reason: str) -> None:
        """A part of an answer was missing."""
        labels = self._metrics.bounded(component, label="component"), self._metrics.bounded(reason, label="reason")
        self._degradations.labels(*labels).inc()
