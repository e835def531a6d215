"""Keeps the index fit while it serves: compaction, graphs, and a copy on disk, none of it on the event loop."""

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from chassis.clock import Clock
from chassis.deadline import Deadline
from chassis.logs import get_logger
from services.cg.domain.catalogue import Catalogue
from services.cg.domain.index.live_search import Searches
from services.cg.domain.pin_compaction import Compaction
from services.cg.domain.pin_index import PinIndex, PinSnapshot
from services.cg.ports import IndexMeter, PinCopies

PERIOD_S = 1.0  # between two looks at whether there is something to do
COPY_PERIOD_S = 60.0  # a copy of 100 k pins is 35 MB: half a megabyte per second
NICENESS = 19  # a graph is built for minutes: requests go first

log = get_logger(__name__)


class IndexKeeper:
    """A part that runs as long as the service does. `is_whole` tells whether the index may be copied: a half-read topic
    must not replace a good copy."""

    name = "index keeper"

    def __init__(
        self,
        index: PinIndex,
        catalogue: Catalogue,
        searches: Searches,
        copies: PinCopies,
        is_whole: Callable[[], bool],
        meter: IndexMeter,
        clock: Clock,
    ) -> None:
        self._index, self._catalogue, self._searches = index, catalogue, searches
        self._copies, self._is_whole, self._meter, self._clock = copies, is_whole, meter, clock
        self._quiet = ThreadPoolExecutor(1, "quiet", step_back)
        self._copied: PinSnapshot | None = None
        self._running: list[asyncio.Task[None]] = []

    async def start(self, tasks: asyncio.TaskGroup) -> None:
        """Begin; exact search serves until the first graph is there."""
        loops = (self._compact_forever, self._build_forever, self._copy_forever)
        self._running = [tasks.create_task(loop()) for loop in loops]

    async def stop(self, deadline: Deadline) -> None:  # noqa: ARG002 - a copy that is being written ends by itself
        """End the background work and leave a fresh copy behind."""
        running, self._running = self._running, []
        for task in running:
            task.cancel()
        if running:
            await self.copy()
        self._quiet.shutdown(wait=False, cancel_futures=True)

    async def compact(self) -> bool:
        """Leave dead rows behind if there are too many. Whether that was done."""
        if not self._index.wants_compaction():
            return False
        compaction = self._index.begin_compaction()
        await asyncio.to_thread(self._prepare_rows, compaction)
        await self._build(compaction.preview())
        is_done = self._index.finish_compaction(compaction)
        self._meter.compacted("done" if is_done else "overtaken")
        return is_done

    async def copy(self) -> None:
        """Write the index to disk if it is whole and has changed."""
        snapshot = self._index.snapshot()
        if snapshot is self._copied or not self._is_whole():
            return
        try:
            await asyncio.to_thread(self._copies.keep, snapshot)
            self._copied = snapshot
        except OSError as error:
            log.warning("the copy of the pins was not written", error=repr(error))

    async def _compact_forever(self) -> None:
        while True:
            await self._clock.sleep(PERIOD_S)
            await self.compact()

    async def _build_forever(self) -> None:
        while True:
            await self._clock.sleep(PERIOD_S)
            await self._build(self._index.snapshot())

    async def _copy_forever(self) -> None:
        while True:
            await self._clock.sleep(COPY_PERIOD_S)
            await self.copy()

    async def _build(self, snapshot: PinSnapshot) -> None:
        await asyncio.get_running_loop().run_in_executor(self._quiet, self._searches.prepare, snapshot)

    def _prepare_rows(self, compaction: Compaction) -> None:
        compaction.run()
        self._catalogue.warm(compaction.preview())


def step_back() -> None:
    """Lower the priority of the calling thread, where the system can."""
    with contextlib.suppress(AttributeError, OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
