"""Asks again, in the background, for entries of a cache that are in use and no longer young: requests seldom wait."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from prometheus_client import Counter

from chassis.clock import Clock
from chassis.deadline import Deadline
from chassis.errors import CorkboardError

MAX_AT_ONCE = 2_000  # what one call may ask for
PAUSE_S = 0.5


class AgeingRefresh:
    """A part. A failure is counted; the entries grow too old by themselves, and then the requests ask.

    `take_ageing` gives at most so many ids that are due, each once; `fetch` asks for them and keeps the answer.
    `refreshes` counts ids by `outcome`.
    """

    def __init__(
        self,
        name: str,
        take_ageing: Callable[[int], Sequence[str]],
        fetch: Callable[[Sequence[str]], Awaitable[Any]],
        refreshes: Counter,
        clock: Clock,
    ) -> None:
        self.name = name
        self._take_ageing, self._fetch, self._refreshes, self._clock = take_ageing, fetch, refreshes, clock
        self._task: asyncio.Task[None] | None = None

    async def start(self, tasks: asyncio.TaskGroup) -> None:
        """Begins at once."""
        self._task = tasks.create_task(self._run())

    async def stop(self, deadline: Deadline) -> None:  # noqa: ARG002 - nothing to finish
        """End at once."""
        if self._task is not None:
            self._task.cancel()

    async def refresh(self) -> None:
        """Ask for what is due, in calls of `MAX_AT_ONCE`."""
        while ids := self._take_ageing(MAX_AT_ONCE):
            try:
                await self._fetch(ids)
            except CorkboardError:
                self._refreshes.labels("failed").inc(len(ids))
                return
            self._refreshes.labels("ok").inc(len(ids))

    async def _run(self) -> None:
        while True:
            await self._clock.sleep(PAUSE_S)
            await self.refresh()
