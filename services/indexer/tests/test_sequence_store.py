"""What every SequenceStore promises; run against the fake and against the real one."""

import random
from typing import Any

import pyarrow as pa

from services.indexer.domain.routing import Routing
from services.indexer.domain.writes import AppendCounts
from services.indexer.ports import SequenceQuery, StoredSequence
from services.indexer.tests.conftest import Stores
from services.indexer.tests.samples import NOW_MS, definitions, envelope, event

ROUTING = Routing(definitions())
SCHEMA = ROUTING.stored_schemas["engagement"]


async def write(stores: Stores, events: list[dict[str, Any]], routing: Routing = ROUTING) -> AppendCounts:
    report = await stores.sequences.append(routing.route(envelope(events), NOW_MS))
    return report.get("engagement", AppendCounts())


async def read(
    stores: Stores, user_id: str = "user-1", max_events: int = 2048, schema: pa.Schema = SCHEMA, oldest_ms: int = 0
) -> StoredSequence:
    [found] = await stores.sequences.read([SequenceQuery(user_id, "engagement", max_events, oldest_ms, schema)])
    return found


def ids(found: StoredSequence) -> list[str]:
    names: list[str] = found.rows.column("event_id").to_pylist()
    return names


async def test_unknown_user_has_an_empty_sequence_with_schema(stores: Stores) -> None:
    found = await read(stores, "nobody")
    assert (found.rows.num_rows, found.version, found.num_total) == (0, 0, 0)
    assert found.rows.schema.equals(SCHEMA)


async def test_every_column_comes_back(stores: Stores) -> None:
    given = event(1, event_type="long_view", dwell_s=2.5, pin_topics=["art", "tea"], hour_of_day=7, traceparent="00-aa")
    await write(stores, [given])
    [row] = (await read(stores)).rows.to_pylist()
    assert row == {name: given.get(name) for name in SCHEMA.names}


async def test_events_are_ordered_by_time_then_id_across_buckets(stores: Stores) -> None:
    numbers = list(range(1000))
    random.Random(4).shuffle(numbers)
    for begin in range(0, 1000, 100):
        await write(stores, [event(n, event_time_ms=NOW_MS - 1000 + n // 3) for n in numbers[begin : begin + 100]])
    found = await read(stores)
    assert ids(found) == [f"event-{n}" for n in sorted(numbers, key=lambda n: (n // 3, f"event-{n}"))]
    assert found.num_total == 1000


async def test_only_the_newest_events_and_columns_asked_for_are_read(stores: Stores) -> None:
    for begin in range(0, 900, 90):
        await write(stores, [event(n) for n in range(begin, begin + 90)])
    found = await read(stores, max_events=5, schema=pa.schema([SCHEMA.field("pin_id"), SCHEMA.field("event_id")]))
    assert found.rows.schema.names == ["pin_id", "event_id"]
    assert ids(found) == [f"event-{n}" for n in range(895, 900)]
    assert found.num_total == 900


async def test_events_before_the_window_are_not_read(stores: Stores) -> None:
    await write(stores, [event(n) for n in range(10)])
    assert ids(await read(stores, oldest_ms=NOW_MS - 3_600_000 + 7)) == ["event-7", "event-8", "event-9"]


async def test_the_same_envelope_twice_changes_nothing(stores: Stores) -> None:
    events = [event(n, user_id=f"user-{n % 3}") for n in range(30)]
    assert await write(stores, events) == AppendCounts(num_new=30)
    before = await read(stores)
    assert await write(stores, events) == AppendCounts(num_duplicate=30)
    after = await read(stores)
    assert (after.version, after.rows.to_pylist()) == (before.version, before.rows.to_pylist())


async def test_an_id_with_another_payload_keeps_the_first_and_counts_a_conflict(stores: Stores) -> None:
    await write(stores, [event(1, pin_id="first")])
    assert await write(stores, [event(1, pin_id="second")]) == AppendCounts(num_conflict=1)
    assert (await read(stores)).rows.column("pin_id").to_pylist() == ["first"]


async def test_another_receipt_or_trace_is_no_conflict(stores: Stores) -> None:
    await write(stores, [event(1)])
    again = event(1, received_time_ms=NOW_MS, traceparent="00-bb", definitions_version="d-2", hour_of_day=3)
    assert await write(stores, [again]) == AppendCounts(num_duplicate=1)


async def test_the_version_grows_by_one_per_envelope_that_adds(stores: Stores) -> None:
    await write(stores, [event(1)])
    first = (await read(stores)).version
    await write(stores, [event(2), event(3, event_type="hide")])
    await write(stores, [event(2)])
    assert first > 0
    assert (await read(stores)).version == first + 1


async def test_duplicates_inside_an_envelope_are_found(stores: Stores) -> None:
    counts = await write(stores, [event(1), event(1), event(1, pin_id="other")])
    assert counts == AppendCounts(num_new=1, num_duplicate=1, num_conflict=1)


async def test_hides_go_to_their_own_sequence(stores: Stores) -> None:
    await write(stores, [event(1), event(2, event_type="hide"), event(3, event_type="impression")])
    assert ids(await read(stores)) == ["event-1"]
    query = SequenceQuery("user-1", "negative", 9, 0, ROUTING.stored_schemas["negative"])
    [found] = await stores.sequences.read([query])
    assert ids(found) == ["event-2"]


async def test_many_users_are_read_at_once_in_the_order_asked(stores: Stores) -> None:
    await write(stores, [event(n, user_id=f"user-{n}") for n in range(20)])
    queries = [SequenceQuery(f"user-{n}", "engagement", 9, 0, SCHEMA) for n in reversed(range(21))]
    found = await stores.sequences.read(queries)
    assert [ids(each) for each in found] == [[], *([f"event-{n}"] for n in reversed(range(20)))]


async def test_users_of_a_sequence_are_listed(stores: Stores) -> None:
    odd = ["user-1", "user{2}", "user:3:engagement", "пользователь"]
    await write(stores, [event(n, user_id=user) for n, user in enumerate(odd)])
    assert {user async for user in stores.sequences.user_ids("engagement")} == set(odd)
