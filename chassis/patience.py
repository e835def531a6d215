"""A part whose start may have to wait for others."""

import asyncio

from chassis.clock import SYSTEM_CLOCK, Clock
from chassis.deadline import Deadline
from chassis.errors import Unavailable
from chassis.health import Health
from chassis.kafka.bus import Part
from chassis.tasks import cut

RETRY_S = 2.0


class Patient:
    """Starts `part` in the background until that succeeds; the process is up, and not ready, meanwhile."""

    def __init__(self, part: Part, health: Health, clock: Clock = SYSTEM_CLOCK) -> None:
        self.name = part.name
        self._part = part
        self._health = health
        self._clock = clock
        self._starting: asyncio.Task[None] | None = None

    async def start(self, tasks: asyncio.TaskGroup) -> None:
        """Begin to start."""
        self._health.set(self.name, False, "starting")
        self._starting = tasks.create_task(self._until_started(tasks))

    async def stop(self, deadline: Deadline) -> None:
        """Give up starting, and stop the part."""
        starting, self._starting = self._starting, None
        if starting is not None:
            await cut([starting])
        await self._part.stop(deadline)

    async def _until_started(self, tasks: asyncio.TaskGroup) -> None:
        while True:
            try:
                await self._part.start(tasks)
                self._health.set(self.name, True)
                return
            except Unavailable as error:
                self._health.set(self.name, False, error.message)
                await self._clock.sleep(RETRY_S)
