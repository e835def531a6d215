"""What the engine did, as metrics."""

from chassis.metrics import Metrics
from sequences.engine.result import StepRun


class EngineMetrics:
    """Rows and seconds per executor, look-ups by outcome."""

    def __init__(self, metrics: Metrics) -> None:
        self._rows = metrics.counter(
            "enrich_rows_total", "Rows by what an enrichment did with them.", ("enrichment", "executor", "outcome")
        )
        self._seconds = metrics.histogram(
            "enrich_executor_seconds", "Time of one executor on one batch.", ("enrichment", "executor")
        )
        self._lookups = metrics.counter("enrich_lookups_total", "Look-ups of batches by outcome.", ("outcome",))
        self._keys = metrics.counter(
            "enrich_lookup_keys_total", "Keys looked up, by where the answer came from.", ("origin",)
        )
        self._lookup_seconds = metrics.histogram("enrich_lookup_seconds", "Time of one look-up call.")

    def on_step(self, run: StepRun) -> None:
        labels = (run.enrichment, run.executor)
        self._rows.labels(*labels, "kept").inc(run.num_kept)
        self._rows.labels(*labels, "failed").inc(run.num_failed)
        self._rows.labels(*labels, "filtered").inc(run.num_in - run.num_kept - run.num_failed)
        self._seconds.labels(*labels).observe(run.duration_s)

    def on_lookup(self, outcome: str, num_keys: int, num_fetched: int, duration_s: float) -> None:
        self._lookups.labels(outcome).inc()
        self._keys.labels("cache").inc(num_keys - num_fetched)
        self._keys.labels("source").inc(num_fetched)
        self._lookup_seconds.observe(duration_s)
