"""How long a start waits for topics that the process can do without."""

import asyncio
from typing import Any

from chassis.clock import SYSTEM_CLOCK, Clock

LEAST_S = 0.5  # a topic that is there is read within it, mostly


class StartPatience:
    """Of one process: who waited in vain has waited for all. Else each topic costs its whole limit, one after another,
    while a broker is away that a start should not need."""

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        self._clock = clock
        self._spent_s = 0.0

    async def wait(self, following: "asyncio.Task[Any]", limit_s: float) -> None:
        """Return when `following` is done, or after what is left of `limit_s`."""
        began_s = self._clock.monotonic_s()
        await asyncio.wait({following}, timeout=max(min(LEAST_S, limit_s), limit_s - self._spent_s))
        if not following.done():
            self._spent_s += self._clock.monotonic_s() - began_s
