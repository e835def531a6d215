"""What a backfill published reaches sequences that are in use: held events change, filtered ones go, the rest stays."""

import asyncio
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from sequences.definitions.definitions import Definitions
from sequences.definitions.testing import repository_definitions
from services.indexer.app.backfill import Order
from services.indexer.domain.lake_rows import Table, dated
from services.indexer.domain.pins import PIN_SCHEMA
from services.indexer.domain.renewal import RenewalCounts
from services.indexer.domain.routing import Routing
from services.indexer.offline.backfill import backfill
from services.indexer.offline.store_refresh import Refreshed, RefreshRange, StoreRefresh
from services.indexer.outbound.iceberg_lake import IcebergLake
from services.indexer.outbound.redis_connection import RedisConnection
from services.indexer.ports import PinRows
from services.indexer.tests.conftest import CLOCK, Stores, redis_stores
from services.indexer.tests.in_memory_stores import InMemoryPinStore, InMemoryState
from services.indexer.tests.samples import NOW_MS, envelope, event
from services.indexer.tests.test_backfill import without_bots
from services.indexer.tests.test_nothing_lost_nothing_twice import Crash, CrashingConnection
from services.indexer.tests.test_sequence_store import ROUTING, ids, read, write

Row = dict[str, Any]
MIDDLE_MS = NOW_MS - 3_600_000 + 500
OLD = RefreshRange("save", MIDDLE_MS - 100_000, MIDDLE_MS)


async def renew(stores: Stores, events: list[Row], decided: Mapping[str, set[str]]) -> RenewalCounts:
    return await stores.sequences.renew(ROUTING.of_type(envelope(events), "save", NOW_MS), decided)


async def test_held_events_take_new_values_and_keep_their_place(stores: Stores) -> None:
    for begin in range(0, 1_000, 100):
        await write(stores, [event(n) for n in range(begin, begin + 100)])
    before = await read(stores)
    changed = [event(n, hour_of_day=n % 24) for n in range(0, 1_000, 3)]
    counts = await renew(stores, changed, {"user-1": {each["event_id"] for each in changed}})
    assert counts == RenewalCounts(num_changed=len(changed))
    after = await read(stores)
    assert ids(after) == ids(before) and after.num_total == 1_000
    hours = after.rows.column("hour_of_day").to_pylist()
    assert hours == [n % 24 if n % 3 == 0 else None for n in range(1_000)]
    assert after.version == before.version + 1


async def test_a_second_time_nothing_changes(stores: Stores) -> None:
    await write(stores, [event(n) for n in range(300)])
    changed = [event(n, hour_of_day=3) for n in range(300)]
    decided = {"user-1": {each["event_id"] for each in changed}}
    await renew(stores, changed, decided)
    version = (await read(stores)).version
    assert await renew(stores, changed, decided) == RenewalCounts()
    assert (await read(stores)).version == version


async def test_filtered_events_go_and_come_back_when_they_are_not_filtered_any_more(stores: Stores) -> None:
    await write(stores, [event(n) for n in range(400)])
    names = {f"event-{n}" for n in range(0, 400, 2)}
    assert (await renew(stores, [], {"user-1": names})).num_removed == 200
    assert ids(await read(stores)) == [f"event-{n}" for n in range(1, 400, 2)]
    again = [event(n, hour_of_day=1) for n in range(0, 400, 2)]
    assert await renew(stores, again, {"user-1": names}) == RenewalCounts(num_added=200)
    assert ids(await read(stores)) == [f"event-{n}" for n in range(400)]
    assert (await renew(stores, [], {"user-1": {f"event-{n}" for n in range(400)}})).num_removed == 400
    assert (await read(stores)).rows.num_rows == 0
    await write(stores, [event(1_000)])
    assert ids(await read(stores)) == ["event-1000"]


async def test_another_payload_stays_what_came_first_and_is_counted(stores: Stores) -> None:
    await write(stores, [event(1, pin_id="first"), event(2)])
    counts = await renew(stores, [event(1, pin_id="second", hour_of_day=5)], {"user-1": {"event-1"}})
    assert counts.num_conflict == 1 and counts.num_changed == 0
    found = (await read(stores)).rows.to_pylist()
    assert [(row["pin_id"], row["hour_of_day"]) for row in found] == [("first", None), ("pin-1", None)]


async def test_unknown_users_and_events_are_appended(stores: Stores) -> None:
    await write(stores, [event(1)])
    new = [event(2, hour_of_day=2), event(3, user_id="user-9", hour_of_day=3)]
    assert await renew(stores, new, {"user-1": {"event-2"}, "user-9": {"event-3"}}) == RenewalCounts(num_added=2)
    assert ids(await read(stores)) == ["event-1", "event-2"]
    assert ids(await read(stores, "user-9")) == ["event-3"]


@pytest.mark.servers
async def test_appends_and_seals_meanwhile_lose_nothing(redis_connection: RedisConnection) -> None:
    stores = redis_stores(redis_connection)
    await write(stores, [event(n) for n in range(250)])
    changed = [event(n, hour_of_day=n % 24) for n in range(250)]

    async def live() -> None:
        for begin in range(1_000, 2_400, 35):
            await write(stores, [event(n) for n in range(begin, begin + 35)])

    decided = {"user-1": {each["event_id"] for each in changed}}
    _, counts = await asyncio.gather(live(), renew(stores, changed, decided))
    assert counts.num_changed == 250
    found = await read(stores)
    assert ids(found) == [f"event-{n}" for n in (*range(250), *range(1_000, 2_400))]
    assert found.rows.column("hour_of_day").to_pylist()[:250] == [n % 24 for n in range(250)]


@pytest.mark.servers
async def test_a_crash_anywhere_leaves_all_or_nothing(redis_connection: RedisConnection) -> None:
    stores, dice, num_crashes = redis_stores(redis_connection), random.Random(3), 0
    await write(stores, [event(n) for n in range(600)])
    changed = [event(n, hour_of_day=4) for n in range(0, 600, 2)]
    decided = {"user-1": {f"event-{n}" for n in range(600)}}
    while True:
        try:
            await renew(redis_stores(CrashingConnection(redis_connection, dice, ratio=0.4)), changed, decided)
            break
        except Crash:
            num_crashes += 1
            hours = set((await read(stores)).rows.column("hour_of_day").to_pylist())
            assert hours in ({None}, {4})
    assert num_crashes > 0
    assert ids(await read(stores)) == [f"event-{n}" for n in range(0, 600, 2)]


@pytest.mark.servers
async def test_a_backfill_reaches_the_store_without_a_flush(redis_connection: RedisConnection, tmp_path: Path) -> None:
    """Batch owns the older half; user-1 is filtered there, the others have topics now. A late event comes meanwhile."""
    stores, lake = redis_stores(redis_connection), IcebergLake(str(tmp_path / "lake"))
    events = [event(n, user_id=f"user-{n % 3}") for n in range(1_000)]
    await write(stores, events)
    append(lake, events)
    new = without_bots(repository_definitions(), ["user-1"])
    await reprocess(lake, new)
    late = event(2_000, user_id="user-0", event_time_ms=MIDDLE_MS - 50)
    await write(stores, [late])
    append(lake, [late])
    before = {user: (await read(stores, user)).rows.to_pylist() for user in ("user-0", "user-1", "user-2")}

    done = await refreshed(stores, lake, tmp_path)

    assert (done.num_events, done.num_users) == (501, 3)
    num_filtered = sum(n % 3 == 1 for n in range(500))
    assert done.counts == RenewalCounts(num_changed=500 - num_filtered, num_removed=num_filtered)
    for user, rows in before.items():
        found = (await read(stores, user)).rows.to_pylist()
        expected = [row for row in rows if user != "user-1" or row["event_time_ms"] >= MIDDLE_MS]
        assert [row["event_id"] for row in found] == [row["event_id"] for row in expected]
        for row in found:
            is_new = row["event_time_ms"] < MIDDLE_MS and row["event_id"] != "event-2000"
            assert row["pin_topics"] == (["art"] if is_new else None), row
    assert (await refreshed(stores, lake, tmp_path)).counts == RenewalCounts()
    assert not (tmp_path / "refresh").exists()


def append(lake: IcebergLake, events: list[Row]) -> None:
    lake.coverage(Table.EVENTS)
    lake.append(Table.EVENTS, dated(pa.Table.from_batches([envelope(events)]), Table.EVENTS), {})


async def reprocess(lake: IcebergLake, definitions: Definitions) -> None:
    pins = InMemoryPinStore(InMemoryState(CLOCK))
    known = pa.RecordBatch.from_pylist([{"pin_id": "pin-1", "topics": ["art"], "price_micros": 0}], schema=PIN_SCHEMA)
    await pins.put(PinRows(known, [1], [1]))
    order = Order(OLD.event_type, OLD.from_ms, OLD.until_ms, definitions.version, {})
    done = await backfill(lake, pins, definitions, order, lambda _: None)
    assert done.run.num_in == 500


async def refreshed(stores: Stores, lake: IcebergLake, folder: Path) -> Refreshed:
    job = StoreRefresh(stores.sequences, lake, folder / "refresh")
    return await job.run(Routing(repository_definitions()), OLD, lambda *_: None, CLOCK)
