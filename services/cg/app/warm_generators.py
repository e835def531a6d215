"""Shows new pins to the generators in the background, so that no request pays for encoding them."""

import asyncio

from chassis.clock import Clock
from chassis.deadline import Deadline
from services.cg.domain.catalogue import Catalogue
from services.cg.domain.pin_index import PinIndex

PERIOD_S = 0.25  # a new pin is placed well within the two seconds it has


class GeneratorWarmer:
    """A part that runs as long as the service does."""

    name = "generator warmer"

    def __init__(self, index: PinIndex, catalogue: Catalogue, clock: Clock) -> None:
        self._index = index
        self._catalogue = catalogue
        self._clock = clock
        self._task: asyncio.Task[None] | None = None

    async def start(self, tasks: asyncio.TaskGroup) -> None:
        """Encode what is there, then go on in the background."""
        await self._warm()
        self._task = tasks.create_task(self._forever())

    async def stop(self, deadline: Deadline) -> None:  # noqa: ARG002 - nothing to wait for
        """End the background work."""
        if self._task is not None:
            self._task.cancel()

    async def _forever(self) -> None:
        while True:
            await self._clock.sleep(PERIOD_S)
            await self._warm()

    async def _warm(self) -> None:
        await asyncio.to_thread(self._catalogue.warm, self._index.snapshot())
