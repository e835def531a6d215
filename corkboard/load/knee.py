"""Finds the knee: the highest rate that a goal still holds at, by doubling and then halving the interval."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from corkboard.load.driver import Sample
from corkboard.load.summary import latencies

GROWTH = 1.6
PRECISION = 0.15  # of the rate: finer than a busy machine can tell apart
MAX_STEPS = 16


@dataclass(frozen=True)
class Goal:
    """A rate holds when `quantile` of good answers stays within `limit_ms` and enough calls are answered in full."""

    limit_ms: float = 250.0
    quantile: str = "p99"
    min_ok_ratio: float = 0.99
    min_full_ratio: float = 0.0

    def holds(self, samples: Sequence[Sample]) -> bool:
        """False for no samples."""
        if not samples:
            return False
        good = [one for one in samples if one.is_ok]
        full = [one for one in good if not one.degraded]
        return (
            len(good) >= self.min_ok_ratio * len(samples)
            and len(full) >= self.min_full_ratio * len(samples)
            and latencies(good).get(self.quantile, float("inf")) <= self.limit_ms
        )


@dataclass(frozen=True)
class Step:
    """One rate that was tried."""

    calls_per_s: float
    holds: bool


async def find_knee(holds_at: Callable[[float], Awaitable[bool]], start_per_s: float) -> tuple[float, list[Step]]:
    """The highest rate found to hold, 0 when not even a tenth of the first one did, and every step tried."""
    steps: list[Step] = []

    async def attempt(rate: float) -> bool:
        steps.append(Step(round(rate, 2), await holds_at(rate)))
        return steps[-1].holds

    low, high = 0.0, start_per_s
    while len(steps) < MAX_STEPS and await attempt(high):
        low, high = high, high * GROWTH
    while len(steps) < MAX_STEPS and high - low > PRECISION * high and high > start_per_s / 10:
        middle = (low + high) / 2
        if await attempt(middle):
            low = middle
        else:
            high = middle
    return round(low, 2), steps
