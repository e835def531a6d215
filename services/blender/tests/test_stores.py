"""Sessions and explanations: the fakes and the real ones keep the same promises."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chassis.deadline import Deadline
from chassis.errors import Corrupt, DeadlineExceeded, NotFound, Unavailable
from chassis.redis.client import RedisClient
from protos.blender.v1 import blender_pb2 as pb
from services.blender.domain.candidate import Candidate, Degradation, InfluencingEvent
from services.blender.domain.candidates import Candidates
from services.blender.domain.served_feed import LeftOut, Outcome, ServedFeed, StageCount
from services.blender.domain.session import Session
from services.blender.outbound import kafka_served_feed_messages, redis_session_bytes
from services.blender.outbound.grpc_indexer import features_of
from services.blender.outbound.in_memory_served_log import Explanations
from services.blender.outbound.redis_explanations import RedisExplanations
from services.blender.outbound.redis_sessions import RedisSessions
from services.blender.ports import SessionStore
from services.blender.tests.fake_peers import pin_rows
from services.blender.tests.in_memory_stores import InMemoryExplanations, InMemorySessions
from services.blender.tests.running_blender import levels_of, running_blender
from services.blender.tests.valkey import Valkey, running_valkey

NONE_LEFT_OUT = LeftOut()
EVENT = InfluencingEvent("e", "save", "pin-1", 5, "00-x")


def session(num: int = 5) -> Session:
    pins = [f"pin-{n}" for n in range(num)]
    return Session(
        pool=Candidates.of(
            Candidate(pin, "fresh", 0.5, n, {}, "группа", 0.1 * n, {"save": 0.25} if n else {}, n + 25)
            for n, pin in enumerate(pins)
        ),
        features=features_of(pin_rows(pins)),
        versions={"model:ranker": "r-1"},
        sequence_version=2**63,
        influencing_events=[EVENT],
    )


def feed() -> ServedFeed:
    candidate = Candidate("pin-1", "fresh", 0.5, -1, {}, "", 0.75, {"save": 0.25}, 3)
    return ServedFeed(
        request_id="0" * 32,
        user_id="ann",
        surface="home",
        served_time_ms=7,
        served=[Outcome(candidate, 0, "", 0.5, 0.25, "ads", "fresh")],
        left_out=LeftOut(Candidates.of([candidate, replace(candidate, score_by_head={})]), ["cut_page", "drop_seen"]),
        stages=[StageCount("rank", 3, 2, 1, 0.5, "retrieval_order")],
        versions={"a": "b"},
        degradations=[Degradation("ranker", "unavailable", "retrieval_order")],
        sequence_version=9,
        trace_id="t",
        subject_pin_id="s",
        query="q",
        locale="de",
        page=2,
        influencing_events=[EVENT],
        seen=[1, 2],
        blocked=[3],
    )


@pytest.fixture(scope="module")
def valkey() -> Iterator[Valkey]:
    with running_valkey() as server:
        yield server


@pytest.fixture
async def redis(request: pytest.FixtureRequest) -> AsyncIterator[RedisClient]:
    async with connected(request) as client:
        yield client


TWINS = ["in memory", pytest.param("valkey", marks=pytest.mark.servers)]


@asynccontextmanager
async def connected(request: pytest.FixtureRequest) -> AsyncIterator[RedisClient]:
    client = RedisClient(request.getfixturevalue("valkey").url, timeout_s=0.2)
    yield client
    await client.stop(Deadline.after(1))


@pytest.fixture(params=TWINS)
async def sessions(request: pytest.FixtureRequest) -> AsyncIterator[SessionStore]:
    if request.param == "in memory":
        yield InMemorySessions()
        return
    async with connected(request) as redis:
        yield RedisSessions(redis, ttl_s=60)


@pytest.fixture(params=TWINS)
async def explanations(request: pytest.FixtureRequest) -> AsyncIterator[Explanations]:
    if request.param == "in memory":
        yield InMemoryExplanations()
        return
    async with connected(request) as redis:
        yield RedisExplanations(redis, ttl_s=60)


def cosines(of: Session) -> np.ndarray:
    vectors = of.features.vectors_RD.astype(np.float64)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(unit @ unit.T)


@pytest.mark.parametrize("num", [0, 1, 5, 300])
async def test_a_session_comes_back_as_it_was(sessions: SessionStore, num: int) -> None:
    given_session = session(num)
    await sessions.save("s", 1, given_session)
    found = await sessions.load("s", 1)
    assert list(found.pool) == list(given_session.pool)
    assert (found.versions, found.sequence_version) == (given_session.versions, given_session.sequence_version)
    assert list(found.influencing_events) == [EVENT]
    assert list(found.features.rows())[:0] == [] and found.features.topics == given_session.features.topics
    assert found.features.is_labelled_R.tolist() == given_session.features.is_labelled_R.tolist()
    np.testing.assert_allclose(cosines(found), cosines(given_session), atol=0.01)


def test_a_vector_that_points_nowhere_is_kept_as_such_and_a_large_pool_stays_small() -> None:
    random, whole = np.random.default_rng(0), session(300)
    vectors = random.normal(size=(300, 64)).astype(np.float32)
    vectors[:3] = [[0.0], [np.nan], [np.inf]]
    packed = redis_session_bytes.encode(replace(whole, features=replace(whole.features, vectors_RD=vectors)))
    found = redis_session_bytes.decode(packed).features.vectors_RD
    assert not found[:3].any()
    assert np.abs(found[3:]).max(axis=1) == pytest.approx(1.0)
    assert len(packed) < 300 * (64 + 40)


async def test_each_page_has_its_own_pool(sessions: SessionStore) -> None:
    await sessions.save("t", 1, session(5))
    await sessions.save("t", 2, session(2))
    assert [len((await sessions.load("t", page)).pool) for page in (1, 2)] == [5, 2]
    with pytest.raises(NotFound):
        await sessions.load("t", 3)


async def test_a_served_feed_comes_back_as_it_was(explanations: Explanations) -> None:
    await explanations.save(feed(), kafka_served_feed_messages.encode(feed()))
    found = await explanations.load("0" * 32)
    assert list(found.outcomes) == list(feed().outcomes)
    assert replace(found, left_out=NONE_LEFT_OUT) == replace(feed(), left_out=NONE_LEFT_OUT)
    with pytest.raises(NotFound):
        await explanations.load("1" * 32)


@pytest.mark.servers
async def test_explanations_of_one_moment_are_written_together_and_read_at_once(valkey: Valkey) -> None:
    client, reader = RedisClient(valkey.url), RedisClient(valkey.url)
    store, other = RedisExplanations(client, ttl_s=60, linger_s=0.1), RedisExplanations(reader, ttl_s=60)
    ids = [f"{number:032d}" for number in range(20, 25)]
    feeds = [replace(feed(), request_id=each) for each in ids]
    async with asyncio.TaskGroup() as tasks:
        for each in feeds:
            tasks.create_task(store.save(each, kafka_served_feed_messages.encode(each)))
        await asyncio.sleep(0.02)
        assert [(await store.load(each)).request_id for each in ids] == ids, "this process has them"
        with pytest.raises(NotFound):
            await other.load(ids[0])
    assert [(await other.load(each)).request_id for each in ids] == ids
    for connection in (client, reader):
        await connection.stop(Deadline.after(1))


@pytest.mark.servers
async def test_a_writer_that_is_stopped_tells_those_who_wait_with_it(valkey: Valkey) -> None:
    client = RedisClient(valkey.url)
    store = RedisExplanations(client, ttl_s=60, linger_s=5.0)
    first, second = (replace(feed(), request_id=each * 32) for each in "ab")
    encoded = kafka_served_feed_messages.encode(first)
    leading = asyncio.create_task(store.save(first, encoded))
    await asyncio.sleep(0)
    following = asyncio.create_task(store.save(second, encoded))
    await asyncio.sleep(0)
    leading.cancel()
    with pytest.raises(Unavailable):
        await following
    with pytest.raises(NotFound):
        await store.load("b" * 32)
    await client.stop(Deadline.after(1))


def test_a_feed_of_before_there_were_columns_is_read() -> None:
    message = pb.ServedFeed.FromString(kafka_served_feed_messages.encode(feed()))
    message.ClearField("left_out")
    message.candidates.add(
        pin_id="pin-2",
        position=-1,
        generator="fresh",
        rank_by_score=4,
        removed_by="cut_page",
        score_by_head={"hide": 0.5},
    )
    found = kafka_served_feed_messages.decode(message.SerializeToString())
    assert [(each.candidate.pin_id, each.removed_by) for each in found.outcomes] == [
        ("pin-1", ""),
        ("pin-2", "cut_page"),
    ]
    assert found.outcomes[1].candidate.score_by_head == {"hide": 0.5}


def test_columns_that_do_not_fit_are_corrupt() -> None:
    message = pb.ServedFeed.FromString(kafka_served_feed_messages.encode(feed()))
    message.left_out.pin_ids.append("one too many")
    with pytest.raises(Corrupt, match="do not fit"):
        kafka_served_feed_messages.decode(message.SerializeToString())
    message.left_out.pin_ids.pop()
    del message.left_out.stages[:]
    with pytest.raises(Corrupt, match="do not fit"):
        kafka_served_feed_messages.decode(message.SerializeToString())


@pytest.mark.servers
async def test_damaged_values_are_a_lost_session_and_a_corrupt_feed(redis: RedisClient) -> None:
    await redis.connection.set("blender:session:bad:1", b"rubbish")
    await redis.connection.lpush("blender:session:list:1", "x")
    await redis.connection.set("blender:explain:" + "2" * 32, b"rubbish")
    with pytest.raises(NotFound):
        await RedisSessions(redis, 60).load("bad", 1)
    with pytest.raises(Unavailable):
        await RedisSessions(redis, 60).load("list", 1)
    with pytest.raises(Corrupt):
        await RedisExplanations(redis, 60).load("2" * 32)


@pytest.mark.servers
async def test_values_do_not_live_forever(redis: RedisClient) -> None:
    await RedisSessions(redis, 60).save("u", 1, session())
    await RedisExplanations(redis, 70).save(feed(), b"x")
    assert 0 < await redis.connection.ttl("blender:session:u:1") <= 60
    assert 60 < await redis.connection.ttl("blender:explain:" + "0" * 32) <= 70


async def test_a_store_that_is_gone_is_unavailable() -> None:
    client = RedisClient("redis://127.0.0.1:1/0")
    with pytest.raises(Unavailable):
        await RedisSessions(client, 60).load("s", 1)
    await client.stop(Deadline.after(1))


@pytest.mark.servers
async def test_a_paused_store_costs_little_time_and_comes_back(tmp_path: Path) -> None:
    with running_valkey() as server:
        client = RedisClient(server.url, timeout_s=0.2)
        store = RedisSessions(client, 60)
        await store.save("s", 1, session())
        server.pause()
        with pytest.raises((DeadlineExceeded, Unavailable)):
            await store.load("s", 1)
        async with running_blender(tmp_path, sessions_in=store) as blender:
            response = await blender.feed()
            assert len(response.items) == 25 and levels_of(response) == {"valkey": "session_not_kept"}
            server.go_on()
            second = await blender.feed()
            assert not second.degradations
            assert (await blender.feed(page_token=second.next_page_token)).items[0].position == 25
        await client.stop(Deadline.after(1))


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_that_are_no_session_are_corrupt(raw: bytes) -> None:
    with pytest.raises(Corrupt):
        redis_session_bytes.decode(raw)


@settings(deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 255))
def test_a_damaged_session_is_corrupt_or_whole(place: int, change: int) -> None:
    packed = bytearray(redis_session_bytes.encode(session()))
    packed[place % len(packed)] ^= change
    try:
        redis_session_bytes.decode(bytes(packed))
    except Corrupt:
        return


def test_a_session_cut_short_is_corrupt() -> None:
    packed = redis_session_bytes.encode(session())
    for length in range(0, len(packed), 7):
        with pytest.raises(Corrupt):
            redis_session_bytes.decode(packed[:length])
