"""A key of the wrong kind must not stall a partition: it is removed, the write goes through, nobody else notices."""

from collections.abc import Callable

import pytest

from chassis.errors import Unavailable
from chassis.redis.client import WRONG_TYPE
from services.indexer.outbound import redis_keys
from services.indexer.outbound.redis_connection import RedisConnection
from services.indexer.tests.conftest import Stores, redis_stores
from services.indexer.tests.samples import event
from services.indexer.tests.test_sequence_store import ids, read, write

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
async def test_the_second_attempt_goes_through(
    redis: Stores, redis_connection: RedisConnection, key_of: Callable[[str], str]
) -> None:
    events = [event(number, user_id=f"user-{number % 3}") for number in range(30)]
    await write(redis, events)
    key = key_of("user-1")
    await redis_connection.write([("DEL", key), ("RPUSH", key, "a list")])
    more = [event(number, user_id=f"user-{number % 3}") for number in range(30, 60)]
    with pytest.raises(Unavailable) as failure:
        await write(redis, more)
    assert failure.value.reason == WRONG_TYPE
    await write(redis, more)
    expected = [f"event-{number}" for number in range(60)]
    for user in ("user-0", "user-2"):
        assert ids(await read(redis, user)) == expected[int(user[-1]) :: 3]
    assert set(ids(await read(redis, "user-1"))) >= set(expected[31::3])


async def test_sound_keys_are_left_alone(redis: Stores, redis_connection: RedisConnection) -> None:
    from services.indexer.outbound.redis_mending import mend

    await write(redis, [event(number) for number in range(10)])
    assert await mend(redis_connection, [key_of("user-1") for key_of in KEYS]) == []
    assert len(ids(await read(redis))) == 10
