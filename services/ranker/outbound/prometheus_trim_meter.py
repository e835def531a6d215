"""Counts of the feature trimmer as metrics."""

from collections.abc import Sequence

from chassis.clock import Clock
from chassis.metrics import Metrics


class TrimMetrics:
    """Requests by reason, bytes before and after, listed features that requests lack, and the age of each list."""

    def __init__(self, metrics: Metrics, clock: Clock) -> None:
        self._metrics = metrics
        self._clock = clock
        self._requests = metrics.counter("trimmed_requests_total", "Requests to the leaf, by why trimmed.", ("reason",))
        self._bytes = metrics.counter("trimmed_bytes_total", "Bytes of tensors before and after.", ("side",))
        self._absent = metrics.counter(
            "trim_absent_features_total", "Features that a list names and a request lacks.", ("feature",)
        )
        self._age = metrics.gauge("trim_list_age_seconds", "Seconds since a model's newest list came.", ("model",))

    def trimmed(self, reason: str, num_bytes_before: int, num_bytes_after: int, absent: Sequence[str]) -> None:
        """One request was trimmed, or not."""
        self._requests.labels(reason).inc()
        self._bytes.labels("before").inc(num_bytes_before)
        self._bytes.labels("after").inc(num_bytes_after)
        for feature in absent:
            self._absent.labels(self._metrics.bounded(feature, label="feature")).inc()

    def changed(self, model: str, at_monotonic_s: float) -> None:
        """The age counts from now on."""
        self._age.labels(model).set_function(lambda: self._clock.monotonic_s() - at_monotonic_s)
