"""Refuses calls that a busy server could not answer in time, the least critical first, before they cost anything."""

from dataclasses import dataclass

from chassis.clock import Clock
from chassis.criticality import Criticality
from chassis.errors import Overloaded
from chassis.metrics import Metrics
from chassis.protection.concurrency import GradientLimit

PROBE_S = 0.05
PROBES_IN_ROW = 4  # one stall, such as a garbage collection, is no overload
# What each may use of the room (calls inside) and of the patience (lag of the event loop).
ROOM = {Criticality.SHEDDABLE: 0.6, Criticality.DEFAULT: 0.9, Criticality.CRITICAL: 1.0}
PATIENCE = {Criticality.SHEDDABLE: 0.5, Criticality.DEFAULT: 1.0, Criticality.CRITICAL: 4.0}


@dataclass(frozen=True, slots=True)
class SheddingLimits:
    """When to refuse; see the settings of the same names."""

    is_enabled: bool = True
    min_concurrent: int = 32
    max_concurrent: int = 1024
    latency_tolerance: float = 2.0
    max_lag_s: float = 0.5


class LoadShedder:
    """Watches latencies and the lag of the event loop; `check` refuses, `done` learns."""

    def __init__(self, limits: SheddingLimits, clock: Clock, metrics: Metrics) -> None:
        self.lag_s = 0.0
        self._limits, self._clock = limits, clock
        self._gradient = GradientLimit(
            min(limits.min_concurrent, limits.max_concurrent), limits.max_concurrent, limits.latency_tolerance
        )
        self._lags_s = [0.0] * PROBES_IN_ROW
        self._shed = metrics.counter("grpc_server_shed_total", "Calls refused under overload.", ("criticality", "why"))
        gauge = metrics.gauge("grpc_server_adaptive_limit", "Calls that may be inside at once, by latency.")
        gauge.set_function(lambda: self._gradient.limit)
        metrics.gauge("grpc_server_loop_lag_seconds", "Lag of the event loop, seconds.").set_function(
            lambda: self.lag_s
        )

    @property
    def limit(self) -> float:
        """Calls that may be inside at once."""
        return self._gradient.limit

    def check(self, criticality: Criticality, num_inside: int) -> None:
        """Raises: Overloaded when a call of this criticality must not come in now."""
        if not self._limits.is_enabled:
            return
        if num_inside >= self._gradient.limit * ROOM[criticality]:
            self._refuse(criticality, "concurrency", f"{num_inside} calls are inside")
        if self.lag_s > self._limits.max_lag_s * PATIENCE[criticality]:
            self._refuse(criticality, "lag", f"the event loop is {self.lag_s:.2f} s late")

    def done(self, method: str, latency_s: float, num_inside: int) -> None:
        """A call was answered well; errors and refusals say nothing about capacity."""
        self._gradient.sample(method, latency_s, num_inside, self._clock.monotonic_s())

    async def watch(self) -> None:
        """Measure the lag for ever. The smallest of the last probes counts."""
        while True:
            before_s = self._clock.monotonic_s()
            await self._clock.sleep(PROBE_S)
            lag_s = max(0.0, self._clock.monotonic_s() - before_s - PROBE_S)
            self._lags_s = [*self._lags_s[1:], lag_s]
            self.lag_s = min(self._lags_s)

    def _refuse(self, criticality: Criticality, why: str, message: str) -> None:
        name = criticality.name.lower()
        self._shed.labels(name, why).inc()
        raise Overloaded(
            f"overloaded: {message}; {name} calls are refused", field="server", reason="overload", retry_after_s=1.0
        )
