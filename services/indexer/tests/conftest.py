"""Online stores of both kinds for the contract tests."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import pytest

from chassis.clock import SystemClock
from chassis.redis.client import RedisClient
from services.indexer.outbound.redis_connection import RedisConnection
from services.indexer.outbound.redis_pins import RedisPinStore
from services.indexer.outbound.redis_rows import RedisRows
from services.indexer.outbound.redis_sealing import RedisSealing
from services.indexer.outbound.redis_sequences import RedisSequenceStore
from services.indexer.outbound.redis_users import RedisUserStore
from services.indexer.ports import PinStore, SequenceStore, UserStore
from services.indexer.tests.in_memory_stores import (
    InMemoryPinStore,
    InMemorySequenceStore,
    InMemoryState,
    InMemoryUserStore,
)
from services.indexer.tests.samples import NOW_MS
from services.indexer.tests.valkey import Valkey


class FixedClock(SystemClock):
    """Sleeps like a real one; the time of day stands still."""

    def now_ms(self) -> int:
        return NOW_MS


CLOCK = FixedClock()


@dataclass
class Stores:
    """One online store through its three ports."""

    sequences: SequenceStore
    users: UserStore
    pins: PinStore


@pytest.fixture(scope="session")
def valkey_url() -> Iterator[str]:
    """A real Valkey on a free port, without persistence."""
    with Valkey() as valkey:
        yield valkey.url


@pytest.fixture
async def redis_client(valkey_url: str) -> AsyncIterator[RedisClient]:
    client = RedisClient(valkey_url)
    await client.connection.flushall()
    yield client
    await client.connection.aclose()


@pytest.fixture
def redis_connection(redis_client: RedisClient) -> RedisConnection:
    return RedisConnection(redis_client, read_timeout_s=5.0, write_timeout_s=5.0)


def redis_stores(connection: RedisConnection) -> Stores:
    rows = RedisRows(connection)
    sequences = RedisSequenceStore(connection, rows, RedisSealing(connection, rows), CLOCK)
    return Stores(sequences, RedisUserStore(connection, CLOCK), RedisPinStore(connection, rows))


@pytest.fixture(params=["in memory", pytest.param("redis", marks=pytest.mark.servers)])
def stores(request: pytest.FixtureRequest) -> Stores:
    if request.param == "redis":
        return redis_stores(request.getfixturevalue("redis_connection"))
    state = InMemoryState(CLOCK)
    return Stores(InMemorySequenceStore(state), InMemoryUserStore(state), InMemoryPinStore(state))
