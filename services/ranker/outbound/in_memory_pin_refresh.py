"""Asks again, in the background, for pins that are in use and no longer young: rankings seldom wait for them."""

import asyncio

from chassis.clock import Clock
from chassis.deadline import Deadline
from chassis.errors import CorkboardError
from chassis.metrics import Metrics
from services.ranker.outbound.in_memory_pin_cache import CachedPinFeatures

MAX_PINS = 2_000  # of one BatchGetPins
PAUSE_S = 0.5
WITHIN_S = 2.0  # nobody waits for it


class PinRefresh:
    """A part. A failure is counted; the entries grow too old by themselves, and then the rankings ask."""

    name = "pin refresh"

    def __init__(self, cache: CachedPinFeatures, clock: Clock, metrics: Metrics) -> None:
        self._cache, self._clock = cache, clock
        self._task: asyncio.Task[None] | None = None
        self._refreshes = metrics.counter("pin_cache_refreshes_total", "Pins asked for again.", ("outcome",))

    async def start(self, tasks: asyncio.TaskGroup) -> None:
        """Begins at once."""
        self._task = tasks.create_task(self._run())

    async def stop(self, deadline: Deadline) -> None:  # noqa: ARG002 - nothing to finish
        """End at once."""
        if self._task is not None:
            self._task.cancel()

    async def refresh(self) -> None:
        """Ask for the pins that are due, in calls of 2,000."""
        while pin_ids := self._cache.take_ageing(MAX_PINS):
            try:
                await self._cache.fetch(pin_ids, Deadline.after(WITHIN_S, self._clock))
            except CorkboardError:
                self._refreshes.labels("failed").inc(len(pin_ids))
                return
            self._refreshes.labels("ok").inc(len(pin_ids))

    async def _run(self) -> None:
        while True:
            await self._clock.sleep(PAUSE_S)
            await self.refresh()
