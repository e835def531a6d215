"""After a flush, lake and log give the store that was there before, whatever is cut and whatever comes in meanwhile."""

import asyncio
import random
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from chassis.kafka import arrow
from chassis.kafka.record import Record
from chassis.kafka.topic import Topic
from protos import topics
from protos.blender.v1 import blender_pb2
from protos.indexer.v1 import indexer_pb2
from protos.pins.v1 import pins_pb2
from protos.tensors import numpy_to_tensor
from sequences.definitions.testing import repository_definitions
from services.indexer.app.backfill import Order
from services.indexer.domain.digest import SequencesDigest
from services.indexer.domain.lake_rows import LakeRecord, Table, dated, extended
from services.indexer.domain.pins import PIN_SCHEMA
from services.indexer.domain.rebuild_progress import RebuildProgress, Stretch
from services.indexer.domain.routing import Routing
from services.indexer.domain.users import UserQuery
from services.indexer.inbound.envelopes import envelope_of
from services.indexer.inbound.feeds import feed_of, rows_of
from services.indexer.inbound.pins import pin_changes
from services.indexer.offline.backfill import backfill
from services.indexer.offline.digest import digest
from services.indexer.offline.store_rebuild import StoreRebuild
from services.indexer.outbound.iceberg_lake import IcebergLake
from services.indexer.outbound.redis_connection import RedisConnection
from services.indexer.outbound.redis_progress import RedisProgress
from services.indexer.ports import PinRows, StoredSequence
from services.indexer.tests.conftest import CLOCK, redis_stores
from services.indexer.tests.in_memory_stores import InMemoryPinStore, InMemoryState
from services.indexer.tests.samples import NOW_MS, definitions, envelope, event
from services.indexer.tests.test_backfill import without_bots
from services.indexer.tests.test_nothing_lost_nothing_twice import Crash, CrashingConnection, stream
from services.indexer.tests.test_sequence_store import read
from services.indexer.wiring import OnlineStore

pytestmark = pytest.mark.servers
MAX_EVENTS = 300
ROUTING = Routing(definitions(MAX_EVENTS))
EVENTS = topics.EVENTS_ENRICHED


@dataclass
class ListedLog:
    """Topics as lists of records; `first` is what retention has left."""

    records: dict[tuple[str, int], list[Record]] = field(default_factory=dict)
    first: dict[tuple[str, int], int] = field(default_factory=dict)
    num_read: int = 0

    def add(self, topic: Topic, value: bytes | None, partition: int = 0, key: bytes = b"") -> Record:
        held = self.records.setdefault((topic.name, partition), [])
        record = Record(topic.name, partition, len(held), key, value, {}, NOW_MS + len(held))
        held.append(record)
        return record

    async def stretches(self, topic: Topic, next_offsets: Mapping[int, int]) -> list[Stretch]:
        found = []
        for partition in range(topic.num_partitions):
            place = (topic.name, partition)
            first, end = self.first.get(place, 0), len(self.records.get(place, []))
            begin = next_offsets.get(partition, first)
            found.append(Stretch(partition, max(begin, first), end, max(0, first - begin)))
        return found

    async def read(self, topic: Topic, stretches: Sequence[Stretch]) -> AsyncGenerator[list[Record], None]:
        for one in stretches:
            for begin in range(one.begin, one.end, 3):
                await asyncio.sleep(0)
                some = self.records[topic.name, one.partition][begin : min(begin + 3, one.end)]
                self.num_read += len(some)
                yield some


@dataclass
class World:
    """A log, a lake that has the first `num_covered` records of partition 0, and a store that has all."""

    connection: RedisConnection
    folder: Path
    log: ListedLog = field(default_factory=ListedLog)

    def __post_init__(self) -> None:
        self.lake = IcebergLake(str(self.folder / "lake"))

    def store(self, connection: RedisConnection | None = None) -> OnlineStore:
        found = redis_stores(connection or self.connection)
        return OnlineStore(found.sequences, found.users, found.pins)

    async def send(self, events: list[dict[str, Any]]) -> None:
        """As the online consumer does."""
        record = self.log.add(EVENTS, arrow.encode(envelope(events)))
        await self.store().sequences.append(ROUTING.route(envelope_of(record), NOW_MS))

    def commit(self, num_covered: int, table: Table = Table.EVENTS, topic: Topic = EVENTS) -> None:
        coverage = self.lake.coverage(table)
        begin = coverage[0].next_offset if coverage else 0
        parse = envelope_of if topic is EVENTS else lambda record: rows_of(feed_of(record))
        held = self.log.records[topic.name, 0][begin:num_covered]
        records = [LakeRecord(0, each.offset, each.timestamp_ms, parse(each)) for each in held]
        rows = pa.Table.from_batches([record.rows for record in records])
        self.lake.append(table, dated(rows, table), extended(coverage, records))

    async def flush(self) -> None:
        await self.connection._client.connection.flushall()

    async def rebuild(self, connection: RedisConnection | None = None, **options: Any) -> RebuildProgress:
        connection = connection or self.connection
        job = StoreRebuild(
            self.store(connection), RedisProgress(connection), self.lake, self.log, self.folder / "rebuild"
        )
        return await job.run(ROUTING, options.get("tell", lambda *_: None), CLOCK)

    async def digest(self) -> SequencesDigest:
        return await digest(self.store().sequences, "engagement", MAX_EVENTS)


@pytest.fixture
def world(redis_connection: RedisConnection, tmp_path: Path) -> World:
    return World(redis_connection, tmp_path)


async def filled(world: World, seed: int = 0, share: float = 0.7) -> SequencesDigest:
    """Disorder, duplicates and replays, more than the limit, committed in two snapshots."""
    envelopes = stream(seed, 1500)
    for events in envelopes:
        await world.send(events)
    world.commit(len(envelopes) // 3)
    world.commit(int(len(envelopes) * share))
    before = await world.digest()
    assert before.num_events == 2 * MAX_EVENTS
    await world.flush()
    assert (await world.digest()).num_events == 0
    return before


@pytest.mark.parametrize("seed", range(3))
async def test_lake_and_log_give_the_same_digest(world: World, seed: int) -> None:
    before = await filled(world, seed)
    done = await world.rebuild()
    assert await world.digest() == before
    assert done.counts["num_lake_events"] > 0 < done.counts["num_log_events"]
    num_covered = world.lake.coverage(Table.EVENTS)[0].next_offset
    assert world.log.num_read == len(world.log.records[EVENTS.name, 0]) - num_covered
    assert not (world.folder / "rebuild").exists()


async def test_a_rebuild_of_a_full_store_changes_nothing(world: World) -> None:
    before = await filled(world)
    await world.rebuild()
    version = (await read(redis_stores(world.connection), "user-0")).version
    again = await world.rebuild()
    assert again.counts["num_new"] == 0
    assert await world.digest() == before
    assert (await read(redis_stores(world.connection), "user-0")).version == version


async def test_a_planted_hole_in_the_log_changes_the_digest(world: World) -> None:
    before = await filled(world, share=0.4)
    num_left = 2
    world.log.first[EVENTS.name, 0] = len(world.log.records[EVENTS.name, 0]) - num_left
    done = await world.rebuild()
    num_covered = world.lake.coverage(Table.EVENTS)[0].next_offset
    assert done.counts["num_gone_from_log"] == world.log.first[EVENTS.name, 0] - num_covered > 0
    assert await world.digest() != before


async def test_killed_anywhere_it_goes_on_and_ends_the_same(world: World) -> None:
    before = await filled(world, share=0.5)
    dice, num_crashes, done = random.Random(5), 0, None
    while done is None:
        try:
            done = await world.rebuild(CrashingConnection(world.connection, dice, ratio=0.04))
        except Crash:
            num_crashes += 1
    assert num_crashes > 2
    assert done.counts["num_resumed"] > 0
    assert await world.digest() == before


async def test_what_was_done_is_not_done_again(world: World) -> None:
    before = await filled(world)
    shards: list[int] = []

    def kill_in_the_log(phase: str, done: int, total: int) -> None:
        if phase == "lake: events":
            shards.append(done)
        if phase.startswith("log: corkboard.events") and 2 * done > total:
            raise Crash

    with pytest.raises(Crash):
        await world.rebuild(tell=kill_in_the_log)
    num_read, world.log.num_read = world.log.num_read, 0
    first, shards[:] = list(shards), []
    await world.rebuild(tell=lambda phase, done, _: shards.append(done) if phase == "lake: events" else None)
    assert (len(first), shards) == (64, [])
    num_covered = world.lake.coverage(Table.EVENTS)[0].next_offset
    assert num_read + world.log.num_read == len(world.log.records[EVENTS.name, 0]) - num_covered
    assert await world.digest() == before


async def test_a_flush_in_the_middle_begins_anew(world: World) -> None:
    before = await filled(world)

    def kill(phase: str, done: int, total: int) -> None:
        if phase == "lake: events" and 2 * done > total:
            raise Crash

    with pytest.raises(Crash):
        await world.rebuild(tell=kill)
    await world.flush()
    done = await world.rebuild()
    assert "num_resumed" not in done.counts
    assert await world.digest() == before


async def test_new_events_flow_in_meanwhile(world: World) -> None:
    await filled(world)
    new = [[event(n, user_id=f"user-{n % 3}", event_time_ms=NOW_MS - 2_000 + n) for n in range(at, at + 20)]
           for at in range(10_000, 10_400, 20)]  # fmt: skip

    async def live() -> None:
        for events in new:
            await world.send(events)
            await asyncio.sleep(0.002)

    await asyncio.gather(live(), world.rebuild())
    found = await world.digest()
    await world.flush()
    await world.rebuild()  # of everything, with nothing meanwhile
    assert await world.digest() == found
    assert found.num_users == 3


async def test_of_an_id_the_first_payload_stays_and_its_best_enrichment(world: World) -> None:
    await world.send([event(1, pin_id="first", event_time_ms=NOW_MS - 50, enriched_time_ms=NOW_MS)])
    await world.send([event(1, pin_id="second", event_time_ms=NOW_MS - 90, enriched_time_ms=NOW_MS + 1)])
    await world.send([event(1, pin_id="first", event_time_ms=NOW_MS - 50, hour_of_day=7, enriched_time_ms=NOW_MS + 2)])
    world.commit(3)
    await world.flush()
    await world.rebuild()
    [row] = (await read(redis_stores(world.connection))).rows.to_pylist()
    assert (row["pin_id"], row["hour_of_day"]) == ("first", 7)


async def test_pins_vectors_and_what_was_seen_come_back(world: World) -> None:
    for number, page in enumerate(("a", "b")):
        feed = blender_pb2.ServedFeed(
            request_id=f"r{number}", user_id="user-1", surface="home", served_time_ms=NOW_MS - 1000, locale="de"
        )
        feed.candidates.add(pin_id=page, position=0)
        world.log.add(topics.FEEDS_SERVED, feed.SerializeToString())
    world.commit(1, Table.FEEDS, topics.FEEDS_SERVED)
    for pin_id, is_deleted in (("kept", False), ("gone", False), ("gone", True), ("older", True)):
        pin = pins_pb2.EnrichedPin(pin=pins_pb2.Pin(pin_id=pin_id, is_deleted=is_deleted))
        world.log.add(topics.PINS_ENRICHED, pin.SerializeToString(), key=pin_id.encode())
    world.log.add(topics.PINS_ENRICHED, b"\xff\xff", key=b"poison")
    vector = indexer_pb2.UserVector(encoder="e", encoder_version="1", vector=numpy_to_tensor(np.ones(2, np.float32)))
    embedding = indexer_pb2.UserEmbedding(user_id="user-1", vector=vector)
    world.log.add(topics.EMBEDDINGS_PUBLISHED, embedding.SerializeToString(), partition=1)
    store = world.store()
    await store.pins.put(_live_pin("older"))
    done = await world.rebuild()
    assert {pin_id async for pin_id in store.pins.pin_ids()} == {"kept", "older"}
    found = await store.users.read(UserQuery("user-1", "home", NOW_MS - 5000))
    assert set(found.seen_pin_ids) == {"a", "b"}
    assert found.profile == {"locale": "de"}
    assert [each.encoder for each in found.vectors] == ["e"]
    assert (done.counts["num_lake_feeds"], done.counts["num_log_feeds"], done.counts["num_left_out"]) == (1, 1, 1)


async def test_a_pin_deleted_while_its_record_is_on_the_way_stays_deleted(world: World) -> None:
    def add(pin_id: str, is_deleted: bool = False) -> None:
        pin = pins_pb2.EnrichedPin(pin=pins_pb2.Pin(pin_id=pin_id, is_deleted=is_deleted))
        world.log.add(topics.PINS_ENRICHED, pin.SerializeToString(), key=pin_id.encode())

    def delete(phase: str, done: int, _: int) -> None:
        if (phase, done) == (f"log: {topics.PINS_ENRICHED.name}", 3):  # "late" is in the next batch
            add("late", is_deleted=True)

    for pin_id in ("a", "b", "c", "late"):
        add(pin_id)
    await world.rebuild(tell=delete)
    assert {pin_id async for pin_id in world.store().pins.pin_ids()} == {"a", "b", "c"}


def _live_pin(pin_id: str) -> PinRows:
    pin = pins_pb2.EnrichedPin(pin=pins_pb2.Pin(pin_id=pin_id))
    return pin_changes([Record(topics.PINS_ENRICHED.name, 0, 99, pin_id.encode(), pin.SerializeToString(), {}, 0)]).put


async def test_what_a_backfill_published_is_what_a_rebuild_brings(world: World) -> None:
    """Batch owns the older half of the events; one user is filtered there, the rest have topics now."""
    for events in stream(5, 1_500):
        await world.send(events)
    world.commit(len(world.log.records[EVENTS.name, 0]))
    middle_ms = NOW_MS - 9_000_000 + 900
    pins = InMemoryPinStore(InMemoryState(CLOCK))
    known = pa.RecordBatch.from_pylist([{"pin_id": "pin-1", "topics": ["art"], "price_micros": 0}], schema=PIN_SCHEMA)
    await pins.put(PinRows(known, [1], [1]))
    new = without_bots(repository_definitions(), ["user-1"])
    order = Order("save", middle_ms - 100_000, middle_ms, new.version, {})
    done = await backfill(world.lake, pins, new, order, lambda _: None)
    assert done.run.num_filtered > 0 < done.run.num_kept
    before = {user: rows_by_id(await read(redis_stores(world.connection), user)) for user in ("user-0", "user-1")}
    assert {str(each["pin_topics"]) for rows in before.values() for each in rows.values()} == {"None"}
    await world.flush()

    await world.rebuild()

    store = redis_stores(world.connection)
    filtered, kept = rows_by_id(await read(store, "user-1")), rows_by_id(await read(store, "user-0"))
    assert filtered == {name: row for name, row in before["user-1"].items() if row["event_time_ms"] >= middle_ms}
    assert kept.keys() >= before["user-0"].keys()
    for name, row in kept.items():
        assert row["pin_topics"] == (["art"] if row["event_time_ms"] < middle_ms else None), name


def rows_by_id(found: StoredSequence) -> dict[str, dict[str, Any]]:
    return {row["event_id"]: row for row in found.rows.to_pylist()}
