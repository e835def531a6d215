"""Fills an empty online store from the lake, then from the log, while new events flow in.

The order does not matter: every write is idempotent, and the newest events of each user stay whatever came first. So
the group of the online consumers is left alone; this reads the same log beside it, up to where it ended at the start.
"""

import asyncio
from pathlib import Path
from uuid import uuid4

import pyarrow as pa

from chassis.clock import SYSTEM_CLOCK, Clock
from services.indexer.domain.lake_rows import Table
from services.indexer.domain.rebuild_progress import RebuildProgress
from services.indexer.domain.routing import Routing
from services.indexer.domain.users import PinServing
from services.indexer.inbound.kafka_lake import TABLE_BY_TOPIC
from services.indexer.inbound.kafka_online import ONLINE_TOPICS
from services.indexer.offline.lake_shards import LakeShards
from services.indexer.offline.log_replay import LogReplay, RecordLog, Tell
from services.indexer.offline.merged_stream import merged_stream
from services.indexer.offline.store_filling import StoreFilling
from services.indexer.outbound.iceberg_lake import IcebergLake
from services.indexer.outbound.redis_progress import RedisProgress
from services.indexer.wiring import OnlineStore


class StoreRebuild:
    """Of one zone's store. `folder` takes the lake's events once more while it runs."""

    def __init__(
        self, store: OnlineStore, saved: RedisProgress, lake: IcebergLake, kafka: RecordLog, folder: Path
    ) -> None:
        self._store = store
        self._saved = saved
        self._lake = lake
        self._kafka = kafka
        self._folder = folder

    async def run(self, routing: Routing, tell: Tell, clock: Clock = SYSTEM_CLOCK) -> RebuildProgress:
        """Returns what was done; goes on where one that was cut had been, if the store still has what that one wrote.

        Raises: Unavailable (run it again), Corrupt.
        """
        progress = await self._begun(routing.definitions.version)
        filling = StoreFilling(self._store, routing, progress, clock)
        await self._lake_events(progress, filling, tell)
        await self._lake_feeds(progress, filling, tell)
        replay = LogReplay(self._kafka, filling, self._saved, progress)
        for topic in ONLINE_TOPICS:
            await replay.replay(topic, tell)
        await self._saved.clear()
        await asyncio.to_thread(self._shards(progress).remove)
        return progress

    async def _begun(self, definitions_version: str) -> RebuildProgress:
        progress = await self._saved.get()
        is_same = progress is not None and progress.definitions_version == definitions_version
        if progress is not None and is_same and self._shards(progress).is_here:
            progress.add(num_resumed=1)
            return progress
        # Before the rows are read: what is committed in between is then read twice, and not left out.
        offsets = {name: await asyncio.to_thread(self._next_offsets, table) for name, table in TABLE_BY_TOPIC.items()}
        return RebuildProgress(uuid4().hex, definitions_version, offsets)

    async def _lake_events(self, progress: RebuildProgress, filling: StoreFilling, tell: Tell) -> None:
        shards = self._shards(progress)
        if not progress.is_spilled:
            tell("lake: events by user", 0, 1)
            reader = await asyncio.to_thread(merged_stream, self._lake, filling.events_since_ms)
            await asyncio.to_thread(shards.spill, reader)
            progress.is_spilled = True
            await self._saved.put(progress)
        for shard in range(progress.num_shards_done, shards.num_shards):
            for batch in await asyncio.to_thread(shards.batches, shard):
                await filling.events(batch, "lake")
            progress.num_shards_done = shard + 1
            await self._saved.put(progress)
            tell("lake: events", shard + 1, shards.num_shards)

    async def _lake_feeds(self, progress: RebuildProgress, filling: StoreFilling, tell: Tell) -> None:
        if progress.are_feeds_done:
            return
        tell("lake: feeds", 0, 1)
        reader = await asyncio.to_thread(self._lake.stream, Table.FEEDS, filling.feeds_since_ms)
        while reader is not None and (batch := await asyncio.to_thread(_next, reader)) is not None:
            await filling.servings(_servings(batch), "lake")
        progress.are_feeds_done = True
        await self._saved.put(progress)
        tell("lake: feeds", 1, 1)

    def _next_offsets(self, table: Table) -> dict[int, int]:
        return {partition: each.next_offset for partition, each in self._lake.coverage(table).items()}

    def _shards(self, progress: RebuildProgress) -> LakeShards:
        return LakeShards(self._folder, progress.rebuild_id)


def _next(reader: pa.RecordBatchReader) -> pa.RecordBatch | None:
    return next(reader, None)


def _servings(rows: pa.RecordBatch) -> list[PinServing]:
    """What was shown to one user at one time on one surface."""
    names = ("user_id", "surface", "served_time_ms", "locale", "pin_id")
    pins: dict[tuple[str, str, int, str], list[str]] = {}
    for user_id, surface, time_ms, locale, pin_id in zip(
        *(rows.column(each).to_pylist() for each in names), strict=True
    ):
        pins.setdefault((user_id, surface, time_ms, locale or ""), []).append(pin_id)
    return [
        PinServing(user_id, surface, tuple(found), time_ms, window_s=0, locale=locale)
        for (user_id, surface, time_ms, locale), found in pins.items()
    ]
