"""An adaptive limit of concurrent calls: as many as a server can answer before calls queue inside of it."""

# Gradient limits as in Netflix' concurrency-limits (Gradient2) and Envoy's adaptive concurrency filter. We differ in
# two things: calls of one server have different methods, so each latency counts relative to its own method's baseline;
# and the baseline moves up only while there is room, or after the limit stood at its minimum, so that a long overload
# does not become the new normal.

import math
from dataclasses import dataclass

WINDOW_S = 0.2
MIN_SAMPLES = 10  # of a window; fewer say nothing about a queue
FIRST = 4  # times the lowest limit, before anything is known
SMOOTHING = 0.4
LEAST_GRADIENT = 0.5
BASELINE_STEP = 0.05  # towards a latency; 20 times slower upwards
WINDOWS_AT_LEAST = 50  # at the lowest limit, before latencies count as normal: 10 s


@dataclass(slots=True)
class _Baseline:
    """The latency of one method without a queue: near its lower quartile."""

    latency_s: float

    def follow(self, latency_s: float, *, may_rise: bool) -> None:
        if latency_s < self.latency_s:
            self.latency_s += BASELINE_STEP * (latency_s - self.latency_s)
        elif may_rise:
            self.latency_s += BASELINE_STEP / 20 * (latency_s - self.latency_s)


class GradientLimit:
    """`limit` follows the calls' latencies; not for several threads."""

    def __init__(self, least: int, most: int, tolerance: float) -> None:
        """`tolerance` > 1: how many times its baseline a latency may be before the limit falls."""
        self.limit = float(min(most, FIRST * least))
        self._least, self._most, self._tolerance = least, most, tolerance
        self._baselines: dict[str, _Baseline] = {}
        self._window_until_s = -math.inf
        self._sum_ratio = 0.0
        self._num_samples = self._most_in_flight = self._windows_at_least = 0

    def sample(self, method: str, latency_s: float, num_in_flight: int, now_s: float) -> None:
        """A call of `method` was answered; `num_in_flight` were inside, itself too."""
        baseline = self._baselines.get(method)
        if baseline is None:
            baseline = self._baselines[method] = _Baseline(latency_s)
        has_room = num_in_flight <= self._least or num_in_flight < self.limit / 2
        baseline.follow(latency_s, may_rise=has_room or self._windows_at_least > WINDOWS_AT_LEAST)
        self._sum_ratio += latency_s / max(baseline.latency_s, 1e-6)
        self._num_samples += 1
        self._most_in_flight = max(self._most_in_flight, num_in_flight)
        if now_s >= self._window_until_s and self._num_samples >= MIN_SAMPLES:
            self._end_window()
            self._window_until_s = now_s + WINDOW_S

    def _end_window(self) -> None:
        mean_ratio = self._sum_ratio / self._num_samples
        gradient = min(1.0, max(LEAST_GRADIENT, self._tolerance / mean_ratio))
        is_used = self._most_in_flight >= self.limit / 2  # an idle server tells nothing about what it can do
        if is_used:
            wanted = self.limit * gradient + math.sqrt(self.limit)
            smoothed = self.limit + SMOOTHING * (wanted - self.limit)
            self.limit = min(float(self._most), max(float(self._least), smoothed))
        self._windows_at_least = self._windows_at_least + 1 if self.limit <= self._least else 0
        self._sum_ratio = 0.0
        self._num_samples = self._most_in_flight = 0
