"""Keeps the popular lists fresh in the background, and a copy of them on disk: they are there when cg is not."""

import asyncio

from chassis.clock import Clock
from chassis.deadline import Deadline
from chassis.errors import CorkboardError, Corrupt
from chassis.logs import get_logger
from chassis.metrics import Metrics
from services.blender.app.catalogue import Catalogue
from services.blender.app.popular_memory import PopularMemory
from services.blender.ports import CandidateSource, PopularCopies

FIRST_TRY_S = 2.0  # until a first list is there: a start in any order is soon covered


class PopularRefresh:
    """A part: asks cg for the popular pins of every locale that people asked for."""

    name = "popular refresh"

    def __init__(
        self,
        source: CandidateSource,
        popular: PopularMemory,
        copies: PopularCopies,
        catalogue: Catalogue,
        clock: Clock,
        metrics: Metrics,
        *,
        every_s: float,
        size: int,
    ) -> None:
        self._source, self._popular, self._catalogue, self._clock = source, popular, catalogue, clock
        self._copies = copies
        self._every_s, self._size = every_s, size
        self._task: asyncio.Task[None] | None = None
        self._refreshes = metrics.counter("blender_popular_refreshes_total", "Popular lists asked for.", ("outcome",))

    async def start(self, tasks: asyncio.TaskGroup) -> None:
        """Takes the copy of the last run; nobody waits for the first list of this one."""
        await self._restore()
        self._task = tasks.create_task(self._run())

    async def stop(self, deadline: Deadline) -> None:  # noqa: ARG002 - nothing to finish
        """End at once; the lists stay."""
        if self._task is not None:
            self._task.cancel()

    async def refresh(self) -> bool:
        """Renew every list; False when one could not be."""
        results = [await self._refresh(locale) for locale in self._popular.wanted_locales]
        if any(results):
            await self._keep()
        return all(results)

    async def _restore(self) -> None:
        try:
            lists = await asyncio.to_thread(self._copies.load)
        except Corrupt as error:
            get_logger(__name__).warning("popular_copy_not_usable", error=error.message)
            return
        for locale, candidates in lists.items():
            self._popular.replace(locale, candidates)

    async def _keep(self) -> None:
        try:
            await asyncio.to_thread(self._copies.keep, self._popular.lists)
        except OSError as error:
            self._refreshes.labels("not_kept").inc()
            get_logger(__name__).warning("popular_copy_not_kept", error=str(error))

    async def _run(self) -> None:
        while True:
            is_fresh = await self.refresh()
            await self._clock.sleep(self._every_s if is_fresh else min(FIRST_TRY_S, self._every_s))

    async def _refresh(self, locale: str) -> bool:
        try:
            candidates = await self._source.popular(self._catalogue.open_surface, locale, self._size)
        except CorkboardError as error:
            self._refreshes.labels("failed").inc()
            get_logger(__name__).info("popular_refresh_failed", locale=locale, error=str(error))
            return False
        self._refreshes.labels("empty" if not candidates else "ok").inc()
        self._popular.replace(locale, candidates)
        return bool(candidates)
