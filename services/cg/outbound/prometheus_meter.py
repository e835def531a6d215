"""Counts of retrieval as metrics."""

from chassis.metrics import Metrics


class MetricsMeter:
    """Counters by surface, generator, component and reason; labels are bounded."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._candidates = metrics.counter(
            "retrieval_candidates_total", "Candidates a generator returned, before merging.", ("surface", "generator")
        )
        self._degradations = metrics.counter(
            "retrieval_degradations_total", "Parts missing from answers.", ("component", "reason")
        )
        self._refused = metrics.counter(
            "user_vectors_refused_total",
            "Stored user vectors and hidden states of another encoder version than the index.",
        )

    def retrieved(self, surface: str, generator: str, num_candidates: int) -> None:
        """A generator returned so many candidates."""
        labels = (self._metrics.bounded(surface), self._metrics.bounded(generator))
        self._candidates.labels(*labels).inc(num_candidates)

    def degraded(self, component: str, reason: str) -> None:
        """A part of an answer was missing."""
        self._degradations.labels(self._metrics.bounded(component), reason).inc()
        if reason == "version_mismatch":
            self._refused.inc()
