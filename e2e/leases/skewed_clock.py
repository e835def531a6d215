"""A clock that is wrong by as much as a variable of the test says: nothing of it is in the product."""

import os
import time

from chassis.clock import SYSTEM_CLOCK

VARIABLE = "CORKBOARD_TEST_SKEW_S"


class SkewedClock:
    """Clock: the wall clock is off by `skew_s`, the monotonic one begins at another time."""

    def __init__(self, skew_s: float) -> None:
        self._skew_s = skew_s

    def now_ms(self) -> int:
        return int((time.time() + self._skew_s) * 1000)

    def monotonic_s(self) -> float:
        return time.monotonic() + 1_000.0 * self._skew_s

    async def sleep(self, duration_s: float) -> None:
        await SYSTEM_CLOCK.sleep(duration_s)


def clock_of_environment() -> SkewedClock:
    """As wrong as this process was told to be."""
    return SkewedClock(float(os.environ.get(VARIABLE, "0")))
