"""Sequences of 16,000 events through the real path: sealed, merged, trimmed, and read only as far as asked."""

import random
from typing import Any

import pyarrow as pa
import pytest

from chassis.errors import Corrupt
from services.indexer.domain.buckets import (
    NUM_RECENT,
    PARTS,
    SEAL_AT,
    Bucket,
    from_index,
    in_time,
    mergeable,
    merged_size,
)
from services.indexer.domain.column_blob import from_blob, to_blob
from services.indexer.domain.routing import Routing
from services.indexer.domain.writes import AppendCounts
from services.indexer.outbound.redis_connection import RedisConnection
from services.indexer.outbound.redis_sequences import RedisSequenceStore
from services.indexer.ports import StoredSequence
from services.indexer.tests.conftest import Stores, redis_stores
from services.indexer.tests.samples import definitions, event
from services.indexer.tests.test_nothing_lost_nothing_twice import (
    CRASH_RATIO,
    Crash,
    CrashingConnection,
    deliver,
    num_ids,
)
from services.indexer.tests.test_sequence_store import ids, read, write

pytestmark = pytest.mark.servers
MAX_EVENTS = 16_000
PER_ENVELOPE = 200
BUCKETS = "s:{user-1}:engagement"
ROUTING = Routing(definitions(MAX_EVENTS))
SCHEMA = ROUTING.stored_schemas["engagement"]
NARROW = pa.schema([SCHEMA.field("pin_id")])


async def fill(stores: Stores, num_events: int, begin: int = 0) -> None:
    for at in range(begin, num_events, PER_ENVELOPE):
        await write(stores, [event(n, request_id=f"r-{n // 9}") for n in range(at, at + PER_ENVELOPE)], ROUTING)


async def index(connection: RedisConnection) -> list[tuple[int, int]]:
    """(number, events) of each closed bucket, oldest first."""
    found = from_index(await _field(connection, "index"))
    return [(each.number, each.num_events) for each in sorted(found, key=lambda bucket: bucket.oldest_ms)]


async def _field(connection: RedisConnection, name: str) -> bytes:
    value: Any = await connection._client.connection.hget(BUCKETS, name)
    assert value is not None
    return bytes(value)


async def replace_blobs(connection: RedisConnection, change: Any, numbers: list[int]) -> None:
    redis = connection._client.connection
    for number in numbers:
        blob = await redis.hget(BUCKETS, f"b{number}")
        await redis.hset(BUCKETS, f"b{number}", change(blob))


def last_ids(num_sent: int, num: int) -> list[str]:
    return [f"event-{n}" for n in range(num_sent - num, num_sent)]


async def test_16000_events_are_kept_in_few_buckets_and_older_ones_go_whole(redis_connection: RedisConnection) -> None:
    stores, num_sent = redis_stores(redis_connection), 21_000
    await fill(stores, num_sent)
    found = await read(stores, max_events=MAX_EVENTS)
    assert ids(found) == last_ids(num_sent, MAX_EVENTS)
    listed = from_index(await _field(redis_connection, "index"))
    assert listed == in_time(listed)  # so that readers have nothing to sort
    held = await index(redis_connection)
    sizes = [num_events for _, num_events in held]
    assert len([size for size in sizes if size >= merged_size(MAX_EVENTS)]) in (PARTS, PARTS + 1)
    assert (
        len([size for size in sizes if size < merged_size(MAX_EVENTS)])
        <= merged_size(MAX_EVENTS) // SEAL_AT + NUM_RECENT
    )
    assert MAX_EVENTS <= found.num_total < MAX_EVENTS + 2 * merged_size(MAX_EVENTS)
    assert await num_ids(redis_connection) == found.num_total  # the ids of what is held, and no more
    names: Any = await redis_connection._client.connection.hkeys(BUCKETS)
    assert {name for name in names if name.startswith(b"b")} == {b"b%d" % number for number, _ in held}


async def test_a_part_decodes_only_the_buckets_it_needs(redis_connection: RedisConnection) -> None:
    """Every other bucket is made unreadable: who touched it would raise."""
    stores = redis_stores(redis_connection)
    await fill(stores, MAX_EVENTS)
    held = await index(redis_connection)
    num_head = int(await _field(redis_connection, "num_head"))
    needed, num_newer = [], num_head
    for number, num_events in reversed(held):
        if num_newer < 512:
            needed.append(number)
        num_newer += num_events
    others = [number for number, _ in held if number not in needed]
    assert 1 <= len(needed) <= 3 < len(others)
    await replace_blobs(redis_connection, lambda blob: b"\x00" * len(blob), others)
    assert ids(await read(stores, max_events=512)) == last_ids(MAX_EVENTS, 512)
    with pytest.raises(Corrupt):
        await read(stores, max_events=num_newer)
    await replace_blobs(redis_connection, lambda blob: b"\x00" * len(blob), needed[:1])
    with pytest.raises(Corrupt):
        await read(stores, max_events=512)


async def test_what_a_read_decodes_is_counted(redis_connection: RedisConnection) -> None:
    await fill(redis_stores(redis_connection), MAX_EVENTS)
    held = await index(redis_connection)
    num_head = int(await _field(redis_connection, "num_head"))

    async def decoded(max_events: int, schema: pa.Schema) -> tuple[int, int, int]:
        stores = redis_stores(redis_connection)  # its counters begin at zero
        found = await read(stores, max_events=max_events, schema=schema)
        assert found.rows.num_rows == max_events
        assert isinstance(stores.sequences, RedisSequenceStore)
        counts = stores.sequences.decoded
        return counts.num_buckets, counts.num_columns, counts.num_rows

    assert await decoded(num_head, NARROW) == (0, 0, 0)
    num_columns = 3  # the one that was asked for, and the two of the order
    assert await decoded(num_head + 1, NARROW) == (1, num_columns, held[-1][1])
    num_buckets, _, num_rows = part = await decoded(512, NARROW)
    assert part == (num_buckets, num_buckets * num_columns, num_rows)
    assert num_buckets <= 3 and num_rows < 4 * SEAL_AT  # the newest buckets are small
    num_closed = sum(num_events for _, num_events in held)
    assert await decoded(MAX_EVENTS, SCHEMA) == (len(held), len(held) * len(SCHEMA), num_closed)


def broken_columns(blob: bytes, names: list[str]) -> bytes:
    """The bucket with these columns' compressed bytes overwritten, all others as they were."""
    rows = from_blob(blob)
    broken = bytearray(blob)
    for name in names:
        [_, *buffers] = rows.column(name).buffers()
        for buffer in filter(None, buffers[-1:]):
            packed = pa.Codec("zstd", compression_level=3).compress(buffer, asbytes=True)
            place = blob.find(packed)
            assert place > 0, f"the bytes of {name} were not found"
            broken[place : place + len(packed)] = b"\xff" * len(packed)
    return bytes(broken)


async def test_a_read_decodes_only_the_columns_it_needs(redis_connection: RedisConnection) -> None:
    """The bytes of all texts that were not asked for are destroyed: who decompressed one would raise."""
    stores = redis_stores(redis_connection)
    await fill(stores, MAX_EVENTS)
    numbers = [number for number, _ in await index(redis_connection)]
    await replace_blobs(redis_connection, lambda blob: broken_columns(blob, ["request_id", "event_type"]), numbers)
    found = await read(stores, max_events=MAX_EVENTS, schema=NARROW)
    assert (found.rows.num_rows, found.rows.schema.names) == (MAX_EVENTS, ["pin_id"])
    with pytest.raises(Corrupt):
        await read(stores, max_events=MAX_EVENTS, schema=pa.schema([SCHEMA.field("request_id")]))


async def test_ids_answer_across_sealing_merging_and_trimming(redis_connection: RedisConnection) -> None:
    stores, num_sent = redis_stores(redis_connection), 20_000
    await fill(stores, num_sent)
    held = (await read(stores)).num_total
    dice = random.Random(3)
    kept = dice.sample(range(num_sent - held, num_sent), 200)  # in the head, in small and in merged buckets
    gone = range(num_sent - held - 100, num_sent - held)
    assert await write(stores, [event(n, request_id=f"r-{n // 9}") for n in kept], ROUTING) == AppendCounts(
        num_duplicate=200
    )
    assert await write(stores, [event(n, pin_id="other") for n in kept], ROUTING) == AppendCounts(num_conflict=200)
    assert await write(stores, [event(n, pin_id="other") for n in gone], ROUTING) == AppendCounts(num_late=100)
    pins = set((await read(stores, max_events=MAX_EVENTS, schema=NARROW)).rows.column("pin_id").to_pylist())
    assert pins == {"pin-1"}


@pytest.mark.parametrize("seed", range(3))
async def test_first_payload_stays_under_disorder_crashes_and_merges(
    redis_connection: RedisConnection, seed: int
) -> None:
    """Each id comes with two payloads, the first always before the second, cut at any write and sent again."""
    dice, routing = random.Random(seed), Routing(definitions(4_000))
    numbers = list(range(3_000))
    dice.shuffle(numbers)
    firsts = [event(n, pin_id="first") for n in numbers]
    seconds = [event(n, pin_id="second", surface="search") for n in numbers]
    sent = [firsts[at : at + 100] + seconds[max(0, at - 700) : max(0, at - 600)] for at in range(0, 3_700, 100)]
    assert await deliver(routing, sent, redis_connection, dice) > 2
    found = await read(redis_stores(redis_connection), max_events=4_000)
    assert ids(found) == [f"event-{n}" for n in range(3_000)]
    assert set(found.rows.column("pin_id").to_pylist()) == {"first"}
    assert len(await index(redis_connection)) < 3_000 // SEAL_AT  # some were merged


async def test_a_crash_at_any_write_of_a_merge_loses_nothing(redis_connection: RedisConnection) -> None:
    stores, dice, num_crashes = redis_stores(redis_connection), random.Random(1), 0
    await fill(stores, 1_800)
    for at in range(1_800, 6_600, PER_ENVELOPE):
        while True:
            try:
                crashing = redis_stores(CrashingConnection(redis_connection, dice, CRASH_RATIO))
                await fill(crashing, at + PER_ENVELOPE, begin=at)
                break
            except Crash:
                num_crashes += 1
    assert num_crashes > 5
    found = await read(stores, max_events=MAX_EVENTS)
    assert ids(found) == last_ids(6_600, 6_600)
    assert max(num_events for _, num_events in await index(redis_connection)) >= merged_size(MAX_EVENTS)


async def test_columns_of_other_definitions_survive_a_merge(redis_connection: RedisConnection) -> None:
    """During a roll-out, a process on old definitions merges what one on new definitions wrote."""
    stores = redis_stores(redis_connection)
    await fill(stores, 1_800)
    sealed = await index(redis_connection)
    num_sealed = sum(num_events for _, num_events in sealed)

    def with_column(blob: bytes) -> bytes:
        rows = from_blob(blob)
        return to_blob(rows.append_column("new_column", pa.array(["kept"] * rows.num_rows)))

    await replace_blobs(redis_connection, with_column, [number for number, _ in sealed])
    await fill(stores, 3_000, begin=1_800)
    assert max(size for _, size in await index(redis_connection)) >= merged_size(MAX_EVENTS)
    schema = pa.schema([("new_column", pa.string())])
    found: StoredSequence = await read(stores, max_events=MAX_EVENTS, schema=schema)
    assert found.rows.column("new_column").to_pylist() == ["kept"] * num_sealed + [None] * (3_000 - num_sealed)


def test_what_is_merged_is_not_merged_again() -> None:
    size = merged_size(MAX_EVENTS)
    full = [Bucket(n, size, n, n) for n in range(PARTS)]
    small = [Bucket(100 + n, SEAL_AT, n, n) for n in range(PARTS + NUM_RECENT)]
    assert mergeable([*full, *small[:3]], MAX_EVENTS) == []
    assert mergeable([*full, *small], MAX_EVENTS) == small[:PARTS]  # the newest stay small
    assert mergeable([Bucket(n, SEAL_AT, n, n) for n in range(50)], 2_048) == []  # short sequences have small buckets
