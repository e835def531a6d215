"""Keeps the lake's tables small and quick to read, in the process that writes them and between its commits."""

import asyncio
from collections.abc import Callable

from chassis.clock import Clock
from chassis.deadline import Deadline
from chassis.errors import CorkboardError
from chassis.logs import get_logger
from chassis.metrics import Metrics
from services.indexer.app.write_lake import LakeWriter
from services.indexer.domain.lake_upkeep import UpkeepLimits
from services.indexer.ports import LakeUpkeep

log = get_logger(__name__)


class KeepLake:
    """A round every `interval_s`: per table, merge small files, then let old snapshots go; then give memory back.

    What fails is logged, counted and left for the next round; nothing that is committed depends on it.
    """

    name = "lake upkeep"

    def __init__(
        self,
        open_upkeep: Callable[[], LakeUpkeep],
        writer: LakeWriter,
        limits: UpkeepLimits,
        interval_s: float,
        clock: Clock,
        metrics: Metrics,
        give_back: Callable[[], None],
    ) -> None:
        self._give_back = give_back
        self._open = open_upkeep
        self._writer = writer
        self._limits = limits
        self._interval_s = interval_s
        self._clock = clock
        self._merged = metrics.counter(
            "lake_merged_files_total", "Small files that became part of larger ones.", ("table",)
        )
        self._expired = metrics.counter("lake_expired_snapshots_total", "Snapshots that were let go.", ("table",))
        self._failed = metrics.counter("lake_upkeep_failures_total", "Rounds of upkeep that failed.", ("table",))

    async def start(self, tasks: asyncio.TaskGroup) -> None:
        """Begin the rounds."""
        tasks.create_task(self._run())

    async def stop(self, deadline: Deadline) -> None:
        """Nothing to do: a round that is cut has changed nothing, or all."""

    async def _run(self) -> None:
        while True:
            await self._clock.sleep(self._interval_s)
            await self.round()

    async def round(self) -> None:
        """Every table once. Never raises for a lake that is away."""
        name = "catalog"
        try:
            upkeep = await asyncio.to_thread(self._open)
            for name in await asyncio.to_thread(upkeep.names):
                await self._keep(upkeep, name)
            await asyncio.to_thread(self._give_back)
        except CorkboardError as error:
            self._failed.labels(name).inc()
            log.warning("lake upkeep failed", table=name, error=str(error))

    async def _keep(self, upkeep: LakeUpkeep, name: str) -> None:
        async with self._writer.committing:
            compacted = await asyncio.to_thread(upkeep.compact, name, self._limits)
        async with self._writer.committing:
            expired = await asyncio.to_thread(upkeep.expire, name, self._limits, self._clock.now_ms())
        self._merged.labels(name).inc(compacted.num_files_before)
        self._expired.labels(name).inc(expired.num_snapshots)
