"""Asks again, in the background, for features that are in use and no longer young: feeds seldom wait for them."""

import asyncio

from chassis.clock import Clock
from chassis.deadline import Deadline
from chassis.errors import CorkboardError
from chassis.metrics import Metrics
from services.blender.app.feature_memory import FeatureMemory
from services.blender.ports import PinSource

MAX_PINS = 2_000  # what one call may ask for
PAUSE_S = 0.5


class FeatureRefresh:
    """A part. A failure is counted; the rows grow too old by themselves, and then the feeds ask."""

    name = "feature refresh"

    def __init__(self, source: PinSource, memory: FeatureMemory, clock: Clock, metrics: Metrics) -> None:
        self._source, self._memory, self._clock = source, memory, clock
        self._task: asyncio.Task[None] | None = None
        self._refreshes = metrics.counter("blender_feature_refreshes_total", "Pins asked for again.", ("outcome",))

    async def start(self, tasks: asyncio.TaskGroup) -> None:
        """Begins at once."""
        self._task = tasks.create_task(self._run())

    async def stop(self, deadline: Deadline) -> None:  # noqa: ARG002 - nothing to finish
        """End at once."""
        if self._task is not None:
            self._task.cancel()

    async def refresh(self) -> None:
        """Ask for the pins that are due, in calls of 2,000."""
        while pin_ids := self._memory.take_ageing(MAX_PINS):
            try:
                self._memory.remember(await self._source.get_pins(pin_ids))
            except CorkboardError:
                self._refreshes.labels("failed").inc(len(pin_ids))
                return
            self._refreshes.labels("ok").inc(len(pin_ids))

    async def _run(self) -> None:
        while True:
            await self._clock.sleep(PAUSE_S)
            await self.refresh()
