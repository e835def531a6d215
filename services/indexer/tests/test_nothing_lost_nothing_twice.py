"""Duplicates, disorder, replays and crashes at any write leave each user's newest events, once, in order."""

import random
from collections.abc import Sequence
from typing import Any

import pytest

from chassis.errors import Unavailable
from services.indexer.domain.digest import digest_of
from services.indexer.domain.identity import ID_BYTES, PAYLOAD_BYTES
from services.indexer.domain.routing import Routing
from services.indexer.outbound.redis_connection import RedisConnection
from services.indexer.outbound.redis_scripts import Argument, Call
from services.indexer.tests.conftest import redis_stores
from services.indexer.tests.samples import NOW_MS, definitions, envelope, event
from services.indexer.tests.test_sequence_store import read

pytestmark = pytest.mark.servers
CRASH_RATIO = 0.3


class Crash(Exception):
    """The process is gone."""


class CrashingConnection(RedisConnection):
    """Dies at random: before a write, in the middle of its pipeline, or after it."""

    def __init__(self, alive: RedisConnection, dice: random.Random, ratio: float = CRASH_RATIO) -> None:
        super().__init__(alive._client, read_timeout_s=5, write_timeout_s=5)
        self._dice = dice
        self._ratio = ratio

    async def write(self, calls: Sequence[Call | tuple[Argument, ...]]) -> list[Any]:
        if self._dice.random() < self._ratio:
            await super().write(calls[: self._dice.randrange(len(calls) + 1)])
            raise Crash
        return await super().write(calls)


def stream(seed: int, num_events: int) -> list[list[dict[str, Any]]]:
    """Envelopes with duplicates, disorder and whole replays."""
    dice = random.Random(seed)
    events = [
        event(n, user_id=f"user-{dice.randrange(2)}", event_time_ms=NOW_MS - 9_000_000 + dice.randrange(n + 500))
        for n in range(num_events)
    ]
    sent = sorted(events, key=lambda e: e["event_time_ms"] + dice.gauss(0, 40))
    sent += [dice.choice(events) for _ in range(num_events // 4)]
    envelopes = []
    while sent:
        size = dice.randrange(1, 200)
        envelopes.append(sent[:size])
        sent = sent[size:]
    for _ in range(3):
        begin = dice.randrange(len(envelopes))
        envelopes += envelopes[begin : begin + 4]
    return envelopes


async def deliver(
    routing: Routing, envelopes: list[list[dict[str, Any]]], connection: RedisConnection, dice: random.Random
) -> int:
    """At least once, as a consumer does: what crashed is sent again by a new process. Returns the crashes."""
    num_crashes = 0
    for each in envelopes:
        while True:
            try:
                stores = redis_stores(CrashingConnection(connection, dice))
                await stores.sequences.append(routing.route(envelope(each), NOW_MS))
                break
            except Crash:
                num_crashes += 1
    return num_crashes


async def num_ids(connection: RedisConnection) -> int:
    """How many ids are held of the first user: 19 bytes each, under the first byte of their digests."""
    held: Any = await connection._client.connection.hvals("d:{user-1}:engagement")
    return sum(map(len, held)) // (ID_BYTES + PAYLOAD_BYTES - 1)


def expected(envelopes: list[list[dict[str, Any]]], user_id: str, max_events: int) -> list[tuple[int, str]]:
    """The slow, obvious answer."""
    events = {(e["event_time_ms"], e["event_id"]) for each in envelopes for e in each if e["user_id"] == user_id}
    return sorted(events)[-max_events:]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("max_events", [300, 5000])
async def test_nothing_is_lost_or_doubled(redis_connection: RedisConnection, seed: int, max_events: int) -> None:
    envelopes = stream(seed, 2500)
    num_crashes = await deliver(Routing(definitions(max_events)), envelopes, redis_connection, random.Random(seed))
    assert num_crashes > 2
    for user_id in ("user-0", "user-1"):
        found = await read(redis_stores(redis_connection), user_id, max_events)
        pairs = zip(*(found.rows.column(name).to_pylist() for name in ("event_time_ms", "event_id")), strict=True)
        assert list(pairs) == expected(envelopes, user_id, max_events)
        assert found.num_total <= 2 * max_events + 1024


async def test_trimmed_ids_are_forgotten_and_a_replay_brings_nothing_back(redis_connection: RedisConnection) -> None:
    stores, routing = redis_stores(redis_connection), Routing(definitions(256))
    envelopes = [[event(n) for n in range(begin, begin + 128)] for begin in range(0, 4096, 128)]
    for each in [*envelopes, *envelopes]:
        await stores.sequences.append(routing.route(envelope(each), NOW_MS))
    found = await read(stores, max_events=256)
    assert found.rows.column("event_id").to_pylist() == [f"event-{n}" for n in range(3840, 4096)]
    assert found.num_total <= 256 + 2 * 256
    assert await num_ids(redis_connection) == found.num_total


async def test_total_disorder_is_merged_and_stays_bounded(redis_connection: RedisConnection) -> None:
    stores, routing = redis_stores(redis_connection), Routing(definitions(256))
    numbers = list(range(4096))
    random.Random(1).shuffle(numbers)
    for begin in range(0, 4096, 128):
        await stores.sequences.append(routing.route(envelope([event(n) for n in numbers[begin : begin + 128]]), NOW_MS))
    found = await read(stores, max_events=256)
    assert found.rows.column("event_id").to_pylist() == [f"event-{n}" for n in range(3840, 4096)]
    assert found.num_total <= 2 * 256 + 1024


async def test_a_planted_loss_changes_the_digest() -> None:
    events = {"user-1": [(1, "a", "save", "p"), (2, "b", "save", "p")], "user-2": []}
    whole = digest_of(events)
    assert (whole.num_users, whole.num_events) == (1, 2)
    assert digest_of({"user-1": events["user-1"][:1]}).sha256 != whole.sha256
    assert digest_of({"user-1": events["user-1"][::-1]}).sha256 == whole.sha256


async def test_an_empty_store_starts_again_with_a_higher_version(redis_connection: RedisConnection) -> None:
    routing = Routing(definitions())
    stores = redis_stores(redis_connection)
    await stores.sequences.append(routing.route(envelope([event(1)]), NOW_MS))
    await redis_connection._client.connection.flushall()
    await redis_connection._client.connection.script_flush()
    await stores.sequences.append(routing.route(envelope([event(1)]), NOW_MS))
    assert (await read(stores)).num_total == 1


async def test_a_store_that_is_away_is_unavailable_within_its_limit(redis_connection: RedisConnection) -> None:
    await redis_connection._client.connection.client_pause(600)
    slow = RedisConnection(redis_connection._client, read_timeout_s=0.2, write_timeout_s=0.2)
    with pytest.raises(Unavailable):
        await read(redis_stores(slow))
