"""A key of the wrong kind must not stall a partition: it is removed, the write goes through, nobody else notices."""

from collections.abc import Callable

import pytest

from chassis.errors import Unavailable
from services.indexer.outbound import redis_keys
from services.indexer.outbound.redis_connection import RedisConnection
from services.indexer.ports import SequenceQuery
from services.indexer.tests.conftest import Stores, redis_stores
from services.indexer.tests.samples import NOW_MS, envelope, event
from services.indexer.tests.test_sequence_store import ROUTING, SCHEMA, ids, read, write

pytestmark = pytest.mark.servers
KEYS: list[Callable[[str], str]] = [
    redis_keys.user,
    lambda user: redis_keys.buckets(user, "engagement"),
    lambda user: redis_keys.head(user, "engagement"),
    lambda user: redis_keys.ids(user, "engagement"),
    redis_keys.acted,
]


@pytest.fixture
def redis(redis_connection: RedisConnection) -> Stores:
    return redis_stores(redis_connection)


@pytest.mark.parametrize("key_of", KEYS, ids=["user", "buckets", "head", "ids", "acted"])
async def test_a_write_goes_through(
    redis: Stores, redis_connection: RedisConnection, key_of: Callable[[str], str]
) -> None:
    events = [event(number, user_id=f"user-{number % 3}") for number in range(30)]
    await write(redis, events)
    key = key_of("user-1")
    await redis_connection.write([("DEL", key), ("RPUSH", key, "a list")])
    more = [event(number, user_id=f"user-{number % 3}") for number in range(30, 60)]
    await write(redis, more)
    expected = [f"event-{number}" for number in range(60)]
    for user in ("user-0", "user-2"):
        assert ids(await read(redis, user)) == expected[int(user[-1]) :: 3]
    assert set(ids(await read(redis, "user-1"))) >= set(expected[31::3])


@pytest.mark.parametrize("key_of", KEYS[:3], ids=["user", "buckets", "head"])
async def test_a_read_of_many_does_not_fail_for_one(
    redis: Stores, redis_connection: RedisConnection, key_of: Callable[[str], str]
) -> None:
    await write(redis, [event(number, user_id=f"user-{number % 3}") for number in range(30)])
    key = key_of("user-1")
    await redis_connection.write([("DEL", key), ("RPUSH", key, "a list")])
    queries = [SequenceQuery(f"user-{number}", "engagement", 100, 0, SCHEMA) for number in range(3)]
    found = await redis.sequences.read(queries)
    assert [ids(one) for one in found][::2] == [[f"event-{n}" for n in range(number, 30, 3)] for number in (0, 2)]


async def test_a_rebuild_goes_through(redis: Stores, redis_connection: RedisConnection) -> None:
    events = [event(number) for number in range(10)]
    await write(redis, events)
    key = redis_keys.buckets("user-1", "engagement")
    await redis_connection.write([("DEL", key), ("RPUSH", key, "a list")])
    writes = ROUTING.route(envelope(events), NOW_MS)
    await redis.sequences.renew(writes, {"user-1": {one["event_id"] for one in events}})
    assert ids(await read(redis)) == [f"event-{number}" for number in range(10)]


async def test_sound_keys_are_left_alone_and_other_refusals_are_told(
    redis: Stores, redis_connection: RedisConnection
) -> None:
    await write(redis, [event(number) for number in range(10)])
    with pytest.raises(Unavailable) as failure:
        await redis_connection.write([("HSET", redis_keys.user("user-1"))])
    assert failure.value.reason == "store_error"
    assert len(ids(await read(redis))) == 10


async def test_a_key_of_nobody_knows_which_type_is_left_alone(redis_connection: RedisConnection) -> None:
    await redis_connection.write([("RPUSH", "rebuild", "a list")])
    with pytest.raises(Unavailable):
        await redis_connection.read([("GET", "rebuild")])
    assert await redis_connection.read([("TYPE", "rebuild")]) == [b"list"]
