"""What a leaf's batches, kept contexts and shadow variants did, as metrics."""

from chassis.metrics import Metrics

BATCH_BUCKETS = (1, 2, 4, 8, 16, 32)
DIFFERENCE_BUCKETS = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)


class BatchMetrics:
    """How many requests each model pass answered."""

    def __init__(self, metrics: Metrics) -> None:
        self._sizes = metrics.histogram("batch_requests", "Requests answered by one model pass.", buckets=BATCH_BUCKETS)

    def batch(self, num_requests: int) -> None:
        """One model pass."""
        self._sizes.observe(num_requests)


class ContextMetrics:
    """The cache of user contexts."""

    def __init__(self, metrics: Metrics) -> None:
        self._lookups = metrics.counter("context_lookups_total", "Look-ups of a user's context.", ("outcome",))
        self._saved = metrics.counter("context_saved_seconds_total", "Time of the context passes that hits spared.")
        self._bytes = metrics.gauge("context_cache_bytes", "Bytes of the contexts that are kept.")
        self._entries = metrics.gauge("context_cache_entries", "Contexts that are kept.")

    def looked_up(self, is_hit: bool) -> None:
        """One look-up."""
        self._lookups.labels("hit" if is_hit else "miss").inc()

    def saved_s(self, seconds: float) -> None:
        """A hit spared this."""
        self._saved.inc(seconds)

    def holds(self, num_bytes: int, num_entries: int) -> None:
        """What the cache holds now."""
        self._bytes.set(num_bytes)
        self._entries.set(num_entries)


class ShadowMetrics:
    """Variants on trial."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._requests = metrics.counter(
            "shadow_requests_total", "Requests for a variant on trial, by what came of them.", ("variant", "outcome")
        )
        self._difference = metrics.histogram(
            "shadow_difference",
            "Mean absolute difference of a request's probabilities to those served.",
            ("variant", "head"),
            buckets=DIFFERENCE_BUCKETS,
        )

    def shadowed(self, variant: str, outcome: str) -> None:
        """compared, dropped, failed, no_model or lacks_inputs."""
        self._requests.labels(variant, outcome).inc()

    def difference(self, variant: str, head: str, mean_absolute: float) -> None:
        """Of one request and head."""
        self._difference.labels(variant, head).observe(mean_absolute)
