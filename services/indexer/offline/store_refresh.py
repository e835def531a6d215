"""Puts what a backfill published into an online store in use, user by user, beside the consumers that fill it."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pyarrow as pa
import pyarrow.compute as pc

from chassis.clock import SYSTEM_CLOCK, Clock
from services.indexer.domain.merge import IS_FILTERED
from services.indexer.domain.renewal import RenewalCounts
from services.indexer.domain.routing import Routing
from services.indexer.offline.lake_shards import LakeShards
from services.indexer.offline.log_replay import Tell
from services.indexer.offline.merged_stream import merged_stream
from services.indexer.outbound.iceberg_lake import IcebergLake
from services.indexer.ports import SequenceStore

ROWS_AT_ONCE = 2_000  # and the rest of the last user's


@dataclass(frozen=True)
class RefreshRange:
    """Events of one type that happened in [from_ms, until_ms)."""

    event_type: str
    from_ms: int
    until_ms: int


@dataclass(frozen=True)
class Refreshed:
    """What was done; `counts` are of events in sequences."""

    num_events: int
    num_users: int
    counts: RenewalCounts


class StoreRefresh:
    """Of one zone's store. Run again it changes nothing. `folder` takes the events of the range while it runs."""

    def __init__(self, sequences: SequenceStore, lake: IcebergLake, folder: Path) -> None:
        self._sequences = sequences
        self._lake = lake
        self._folder = folder

    async def run(self, routing: Routing, asked: RefreshRange, tell: Tell, clock: Clock = SYSTEM_CLOCK) -> Refreshed:
        """What readers of history see in the range, readers of sequences see as well, but for events with another
        payload than the one that came first. Raises: Unavailable (run it again), Corrupt.
        """
        shards = LakeShards(self._folder, uuid4().hex)
        reader = await asyncio.to_thread(merged_stream, self._lake, asked.from_ms, asked.until_ms, [asked.event_type])
        await asyncio.to_thread(shards.spill, reader)
        num_events, num_users, counts = 0, 0, RenewalCounts()
        for shard in range(shards.num_shards):
            for events in _by_users(await asyncio.to_thread(shards.decided, shard)):
                kept = events.filter(pc.invert(events.column(IS_FILTERED))).drop_columns([IS_FILTERED])
                decided = _ids_by_user(events)
                counts += await self._sequences.renew(
                    routing.of_type(_one_batch(kept), asked.event_type, clock.now_ms()), decided
                )
                num_events, num_users = num_events + events.num_rows, num_users + len(decided)
            tell(f"refresh {asked.event_type}", shard + 1, shards.num_shards)
        await asyncio.to_thread(shards.remove)
        return Refreshed(num_events, num_users, counts)


def _by_users(events: pa.Table) -> Iterator[pa.Table]:
    """Rows of whole users, which stand together, about ROWS_AT_ONCE at a time."""
    begin, users = 0, events.column("user_id").to_pylist() if events.num_rows else []
    while begin < len(users):
        end = min(begin + ROWS_AT_ONCE, len(users))
        while end < len(users) and users[end] == users[end - 1]:
            end += 1
        yield events.slice(begin, end - begin)
        begin = end


def _ids_by_user(events: pa.Table) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    columns = (events.column(name).to_pylist() for name in ("user_id", "event_id"))
    for user_id, event_id in zip(*columns, strict=True):
        found.setdefault(user_id, set()).add(event_id)
    return found


def _one_batch(events: pa.Table) -> pa.RecordBatch:
    batches = events.combine_chunks().to_batches()
    return batches[0] if batches else pa.RecordBatch.from_pylist([], schema=events.schema)
