"""An open-loop load: calls begin at their intended times whatever came of the ones before."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from chassis.errors import CorkboardError


@dataclass
class Outcome:
    """Latencies count from the intended start, so that a stall is not hidden by the wait it causes."""

    latencies_ms: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def quantile_ms(self, q: float) -> float:
        return float(np.quantile(self.latencies_ms, q)) if self.latencies_ms else float("inf")


async def at_rate(call: Callable[[int], Awaitable[None]], rate_per_s: float, duration_s: float) -> Outcome:
    """Call `rate_per_s` times a second for `duration_s`; a failed call is recorded and not timed."""
    outcome = Outcome()
    start_s = time.perf_counter()

    async def one(number: int, due_s: float) -> None:
        try:
            await call(number)
            outcome.latencies_ms.append((time.perf_counter() - due_s) * 1000)
        except CorkboardError as error:
            outcome.errors.append(f"{type(error).__name__}: {error.message}")

    async with asyncio.TaskGroup() as tasks:
        for number in range(int(rate_per_s * duration_s)):
            due_s = start_s + number / rate_per_s
            await asyncio.sleep(max(0.0, due_s - time.perf_counter()))
            tasks.create_task(one(number, due_s))
    return outcome


def gate(name: str, value: float, goal: float) -> dict[str, object]:
    """A goal and whether it holds."""
    return {"name": name, "value": round(value, 2), "goal": goal, "holds": value <= goal}


def quantiles(values: Sequence[float]) -> dict[str, float]:
    """Median, 99th percentile and maximum."""
    p50, p99, top = np.quantile(values, [0.5, 0.99, 1.0])
    return {"p50": round(float(p50), 1), "p99": round(float(p99), 1), "max": round(float(top), 1), "count": len(values)}
