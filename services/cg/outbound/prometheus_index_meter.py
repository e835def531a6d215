"""State of the index as metrics."""

from chassis.metrics import Metrics


class MetricsIndexMeter:
    """Size, refusals, compactions, and whether the pins are those of the last-good copy."""

    def __init__(self, metrics: Metrics) -> None:
        self._size = metrics.gauge("index_pins", "Pins that can be retrieved.")
        self._refused = metrics.counter("index_refusals_total", "Pins or vectors not taken, by reason.", ("reason",))
        self._compactions = metrics.counter("index_compactions_total", "Compactions of the index.", ("outcome",))
        self._stale = metrics.gauge("index_stale", "1 while the last-good copy serves and the topic cannot be read.")

    def size(self, num_pins: int) -> None:
        """So many pins can be retrieved."""
        self._size.set(num_pins)

    def refused(self, reason: str) -> None:
        """A pin or its vector was not taken."""
        self._refused.labels(reason).inc()

    def compacted(self, outcome: str) -> None:
        """A compaction ended."""
        self._compactions.labels(outcome).inc()

    def stale(self, is_stale: bool) -> None:
        """Whether the last-good copy serves."""
        self._stale.set(int(is_stale))
