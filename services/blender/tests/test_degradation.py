"""Every rung of the ladder, forced."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from chassis.errors import Overloaded, Unavailable
from chassis.testing import eventually
from protos.blender.v1 import blender_pb2 as pb
from protos.blender.v1 import blender_pb2_grpc as rpc
from services.blender.tests.running_blender import RunningBlender, levels_of, running_blender

BAD_MOODS = ["refuse", "hang", "internal", "empty"]


def pins_of(response: Any) -> list[str]:
    return [item.pin_id for item in response.items]


@pytest.fixture
async def warm(tmp_path: Path) -> AsyncIterator[RunningBlender]:
    """Somebody had a feed before, so that memories are filled."""
    async with running_blender(tmp_path) as running:
        await running.feed(user_id="bob")
        await running.feed(user_id="ann")
        await eventually(lambda: any(list(call.generators) for call in running.peers.cg.calls))
        yield running


@pytest.mark.parametrize("mood", BAD_MOODS)
async def test_without_the_ranker_the_order_is_that_of_retrieval(warm: RunningBlender, mood: str) -> None:
    warm.peers.ranker.mood = mood
    response = await warm.feed(page_size=10)
    assert levels_of(response) == {"ranker": "retrieval_order"}
    assert len(response.items) == 10
    assert response.items[0].pin_id == best_retrieved_not_seen(warm)


def best_retrieved_not_seen(warm: RunningBlender) -> str:
    excluded = set(warm.peers.cg.calls[-1].exclude_pin_ids)
    return next(pin for pin in warm.peers.world.pin_ids if pin not in excluded)


@pytest.mark.parametrize("mood", BAD_MOODS)
async def test_without_candidates_the_popular_list_is_served(warm: RunningBlender, mood: str) -> None:
    warm.peers.cg.mood = mood
    response = await warm.feed(page_size=10)
    assert levels_of(response) == {"cg": "popular"}
    assert {item.reason_code for item in response.items} == {"popular"}
    assert len(response.items) == 10


async def test_without_a_popular_list_the_last_feed_comes_again(tmp_path: Path) -> None:
    async with running_blender(tmp_path, popular_size=1) as blender:
        first = await blender.feed(page_size=10)
        blender.peers.cg.mood = "refuse"
        forget_popular(blender)
        second = await blender.feed(page_size=10)
        assert levels_of(second) == {"cg": "last_good_feed", "drop_seen": "seen_relaxed"}
        assert set(pins_of(second)) == set(pins_of(first))


def forget_popular(blender: RunningBlender) -> None:
    refresh = next(part for part in blender.service._parts if part.name == "popular refresh")
    refresh._popular._list_by_locale._entries.clear()  # type: ignore[attr-defined]


async def test_with_nothing_left_the_answer_is_empty_and_says_why(tmp_path: Path) -> None:
    async with running_blender(tmp_path, cg_target="127.0.0.1:1") as blender:
        response = await blender.feed()
        assert list(response.items) == [] and response.next_page_token == ""
        assert levels_of(response)["cg"] == "empty"
        assert {each.reason for each in response.degradations} == {"unavailable"}


@pytest.mark.parametrize("mood", ["refuse", "hang", "internal"])
@pytest.mark.parametrize(("max_age_s", "levels_of_pins"), [(0.0, {("indexer", "remembered_features")}), (30.0, set())])
async def test_without_indexer_the_last_shown_stay_hidden_and_features_are_remembered(
    tmp_path: Path, mood: str, max_age_s: float, levels_of_pins: set[tuple[str, str]]
) -> None:
    async with running_blender(tmp_path, features_max_age_s=max_age_s) as blender:
        await blender.feed(user_id="bob")
        shown = set(pins_of(await blender.feed(page_size=20)))
        blender.peers.indexer.mood = mood
        response = await blender.feed(page_size=20)
    levels = {(each.component, each.level) for each in response.degradations}
    assert levels == {("indexer", "session_seen_only")} | levels_of_pins
    assert len(response.items) == 20 and not shown & set(pins_of(response))
    topics = [int(pin.removeprefix("pin-")) % 4 for pin in pins_of(response)[:4]]
    assert len(set(topics)) > 1, "diversity holds on this rung"


async def test_without_any_features_the_order_is_that_of_relevance(tmp_path: Path) -> None:
    async with running_blender(tmp_path) as blender:
        blender.peers.indexer.mood = "refuse"
        response = await blender.feed(page_size=50)
        assert ("indexer", "relevance_order") in {(each.component, each.level) for each in response.degradations}
        scores = [item.score for item in response.items]
        assert scores == sorted(scores, reverse=True) and len(scores) == 50


@pytest.mark.parametrize("victims", [("indexer",), ("cg",), ("ranker",), ("indexer", "cg", "ranker")])
async def test_hanging_peers_never_take_the_deadline_with_them(tmp_path: Path, victims: tuple[str, ...]) -> None:
    async with running_blender(tmp_path, get_feed_timeout_ms=400) as blender:
        await blender.feed(user_id="bob")
        for victim in victims:
            getattr(blender.peers, victim).mood = "hang"
        blender.sessions.mood = "hang"
        started_s = time.perf_counter()
        response = await blender.feed(user_id="ann")
        took_s = time.perf_counter() - started_s
        assert len(response.items) == 25
        assert set(victims) <= levels_of(response).keys()
        assert took_s < 0.5, "and the door itself would have refused after 0.42 s"


async def test_a_short_deadline_of_the_client_is_kept(blender: RunningBlender) -> None:
    await blender.feed(user_id="bob")
    blender.peers.cg.mood = blender.peers.ranker.mood = "hang"
    request = pb.GetFeedRequest(user_id="ann", surface="home", page_size=5)
    response = await blender.pool.call(rpc.FeedServiceStub, "GetFeed", request, timeout_s=0.12)
    assert len(response.items) == 5


@contextmanager
def deaf_port() -> Any:
    """A process that is stopped: its kernel takes connections, nobody reads them."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        yield listener.getsockname()[1]


async def test_peers_that_are_stopped_from_the_start_leave_time_for_the_rest(tmp_path: Path) -> None:
    with deaf_port() as port:
        target = f"127.0.0.1:{port}"
        async with running_blender(
            tmp_path, get_feed_timeout_ms=400, indexer_target=target, ranker_target=target
        ) as blender:
            started_s = time.perf_counter()
            response = await blender.feed()
            assert time.perf_counter() - started_s < 0.5
            assert len(response.items) == 25
            assert {"indexer", "ranker"} <= levels_of(response).keys()


@pytest.mark.parametrize("mood", ["away", "hang"])
async def test_without_sessions_the_next_page_comes_from_a_fresh_pool_without_repeats(
    blender: RunningBlender, mood: str
) -> None:
    blender.sessions.mood = mood
    first = await blender.feed()
    assert levels_of(first) == {"valkey": "session_not_kept"} and first.next_page_token
    second = await blender.feed(page_token=first.next_page_token)
    assert ("valkey", "session_lost") in {(each.component, each.level) for each in second.degradations}
    assert [item.position for item in second.items] == list(range(25, 50))
    assert not set(pins_of(first)) & set(pins_of(second))


async def test_a_lost_session_in_another_process_repeats_nothing(tmp_path: Path) -> None:
    async with running_blender(tmp_path / "a") as here, running_blender(tmp_path / "b") as there:
        first = await here.feed()
        there.peers.indexer.mood = "refuse"  # it does not learn what was seen; the token alone tells
        second = await there.feed(page_token=first.next_page_token)
        assert len(second.items) == 25 and not set(pins_of(first)) & set(pins_of(second))
        assert {each.reason for each in second.degradations if each.component == "valkey"} == {"session_lost"}


async def test_without_kafka_the_feed_is_whole(blender: RunningBlender) -> None:
    blender.bus.is_available = False
    response = await blender.feed()
    assert len(response.items) == 25 and not response.degradations
    await eventually(lambda: response.request_id in blender.explanations.encoded)


async def test_before_any_definitions_the_service_is_not_ready_and_says_so(blender: RunningBlender) -> None:
    catalogue = blender.service.health
    assert catalogue.is_ready()
    refresh = next(part for part in blender.service._parts if part.name == "popular refresh")
    refresh._catalogue._definitions = None  # type: ignore[attr-defined]
    with pytest.raises(Unavailable) as caught:
        await blender.feed()
    assert caught.value.reason == "no_definitions"


async def test_many_at_once_are_answered_while_everything_hangs(tmp_path: Path) -> None:
    async with running_blender(tmp_path, get_feed_timeout_ms=1_500) as blender:
        await blender.feed(user_id="bob")
        for peer in (blender.peers.indexer, blender.peers.cg, blender.peers.ranker):
            peer.mood = "hang"
        feeds = (blender.feed(user_id=f"user-{n}", page_size=10, timeout_s=10.0) for n in range(20))
        responses = await asyncio.gather(*feeds)
        assert all(len(response.items) == 10 for response in responses)


async def test_more_than_fit_are_refused_with_a_time_to_come_back(tmp_path: Path) -> None:
    async with running_blender(tmp_path, max_concurrent_feeds=4) as blender:
        blender.peers.cg.mood = "hang"
        answers = await asyncio.gather(*(blender.feed(user_id=f"u-{n}") for n in range(12)), return_exceptions=True)
        refused = [answer for answer in answers if isinstance(answer, Overloaded)]
        assert refused and all(error.retry_after_s for error in refused)
        assert len(refused) + sum(isinstance(answer, pb.GetFeedResponse) for answer in answers) == 12
