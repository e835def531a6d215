"""Rate, errors and duration of RPCs, with the per-method children looked up once (labels() costs more than inc())."""

from typing import Protocol

from prometheus_client import Counter, Gauge, Histogram

from chassis.metrics import Metrics

# From below one hop's own cost to above the largest deadline.
DURATION_BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.04, 0.08, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0)


class Recorder(Protocol):
    """Takes one finished call."""

    def __call__(self, code: str, duration_s: float) -> None: ...


class ServerMetrics:
    """What a door says about its methods."""

    def __init__(self, metrics: Metrics) -> None:
        self._calls: Counter = metrics.counter("grpc_server_calls_total", "RPCs answered.", ("method", "code"))
        self._seconds: Histogram = metrics.histogram(
            "grpc_server_duration_seconds", "Time from request to answer.", ("method",), buckets=DURATION_BUCKETS_S
        )
        self.in_flight: Gauge = metrics.gauge("grpc_server_in_flight", "RPCs being answered now.")

    def recorder(self, method: str) -> Recorder:
        """Records calls of `method`."""
        return _recorder(self._calls, self._seconds, (method,))


class ClientMetrics:
    """What a channel pool says about its calls."""

    def __init__(self, metrics: Metrics, pool: str) -> None:
        self._pool = pool
        self._calls: Counter = metrics.counter("grpc_client_calls_total", "RPCs made.", ("pool", "method", "code"))
        self._seconds: Histogram = metrics.histogram(
            "grpc_client_duration_seconds", "Time until the answer.", ("pool", "method"), buckets=DURATION_BUCKETS_S
        )
        self.cross_zone: Counter = metrics.counter(
            "grpc_client_cross_zone_calls_total", "Calls sent to another zone.", ("pool",)
        ).labels(pool)
        self.retries: Counter = metrics.counter(
            "grpc_client_retries_total", "Calls sent again to another endpoint.", ("pool",)
        ).labels(pool)
        self.hedges: Counter = metrics.counter(
            "grpc_client_hedges_total", "Second attempts of slow reads.", ("pool",)
        ).labels(pool)
        self.ejections: Counter = metrics.counter(
            "grpc_client_ejections_total", "Endpoints set aside after failing in a row.", ("pool",)
        ).labels(pool)

    def recorder(self, method: str) -> Recorder:
        """Records calls of `method`."""
        return _recorder(self._calls, self._seconds, (self._pool, method))


def _recorder(calls: Counter, seconds: Histogram, labels: tuple[str, ...]) -> Recorder:
    duration = seconds.labels(*labels)
    by_code: dict[str, Counter] = {"OK": calls.labels(*labels, "OK")}

    def record(code: str, duration_s: float) -> None:
        if code not in by_code:
            by_code[code] = calls.labels(*labels, code)
        by_code[code].inc()
        duration.observe(duration_s)

    return record
