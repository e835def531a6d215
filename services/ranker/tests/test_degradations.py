"""Every way in which a peer can fail a root, over real gRPC: a whole answer in time, the reason named and counted."""

from pathlib import Path
from typing import Any

import pytest
from grpc.aio import AioRpcError

from chassis.testing import eventually
from protos.ranker.v1 import ranker_pb2 as pb
from services.ranker.tests.peers import Peers, root_with_peers
from services.ranker.tests.scraping import scraped
from services.ranker.tests.world import pin_id

NUMBERS = [40, 41, 42]
RETRIEVAL = [pin_id(number) for number in NUMBERS]
RANKED = RETRIEVAL[::-1]  # the leaf's clicks grow with the place
FAR: dict[str, Any] = {"read_timeout_s": 5.0, "leaf_timeout_s": 5.0, "rank_timeout_s": 10.0}


def _ids(response: pb.RankResponse) -> list[str]:
    return [pin.pin_id for pin in response.pins]


def _missing(response: pb.RankResponse) -> set[tuple[str, str, str]]:
    return {(item.component, item.reason, item.level) for item in response.degradations}


async def _rank(peers: Peers, timeout_s: float = 5.0, **fields: Any) -> pb.RankResponse:
    request = pb.RankRequest(**{"user_id": "ann", "surface": "home", **fields})
    for place, name in enumerate(RETRIEVAL):
        request.candidates.add(pin_id=name, retrieval_rank=place)
    response: pb.RankResponse = await peers.root.Rank(request, timeout=timeout_s)
    return response


async def test_a_ranking_is_one_call_of_each_kind_for_what_is_not_cached(tmp_path: Path) -> None:
    async with root_with_peers(tmp_path, **FAR) as peers:
        response = await _rank(peers)
        assert (_ids(response), _missing(response)) == (RANKED, set())
        assert dict(peers.indexer.sequences.calls) == {"GetSequence": 1}
        assert dict(peers.indexer.pins.calls) == {"BatchGetPins": 2}, "candidates, then pins of the history"
        assert dict(peers.leaf.mood.calls) == {"Score": 1}
        await _rank(peers, user_id="bob")
        assert dict(peers.indexer.pins.calls) == {"BatchGetPins": 2}, "the cache is shared by all users"


@pytest.mark.parametrize("mood", ["refuse", "garbage", "no_columns", "nulls", "other_types"])
async def test_a_sequence_that_cannot_be_read_is_named_and_all_is_scored_without(tmp_path: Path, mood: str) -> None:
    async with root_with_peers(tmp_path, **FAR) as peers:
        peers.indexer.sequences.name = mood
        response = await _rank(peers)
        (missing,) = response.degradations
        assert _ids(response) == RANKED
        assert (missing.component, missing.level) == ("sequence", "history_free")
        assert missing.reason == ("unavailable" if mood == "refuse" else "corrupt")
        assert peers.leaf.requests[-1].inputs["history_pin"].shape == [0]
        counts = await scraped(peers.service)
        assert counts("ranking_degradations_total", component="sequence", reason=missing.reason) == 1
        peers.indexer.sequences.name = "ok"
        await eventually(lambda: _is_whole(peers))


@pytest.mark.parametrize("mood", ["refuse", "garbage", "no_columns", "other_types"])
async def test_pins_that_cannot_be_read_are_named_and_take_defaults(tmp_path: Path, mood: str) -> None:
    async with root_with_peers(tmp_path, **FAR) as peers:
        peers.indexer.pins.name = mood
        response = await _rank(peers)
        (missing,) = response.degradations
        assert _ids(response) == RANKED
        assert (missing.component, missing.level) == ("pin_features", "default_features")
        assert missing.reason == ("unavailable" if mood == "refuse" else "corrupt")
        peers.indexer.pins.name = "ok"
        await eventually(lambda: _is_whole(peers))


@pytest.mark.parametrize(
    ("mood", "reason"),
    [
        ("refuse", "unavailable"),
        *((mood, "corrupt") for mood in ("short", "ragged", "longer", "deep")),
        ("torn", "bad_shape"),
        *((mood, "not_finite") for mood in ("no_heads", "unknown_heads")),
    ],
)
async def test_a_leaf_that_fails_or_answers_nonsense_gives_retrieval_order(
    tmp_path: Path, mood: str, reason: str
) -> None:
    async with root_with_peers(tmp_path, **FAR) as peers:
        peers.leaf.mood.name = mood
        response = await _rank(peers)
        assert _ids(response) == RETRIEVAL
        assert [pin.score for pin in response.pins] == sorted((pin.score for pin in response.pins), reverse=True)
        assert _missing(response) == {("ranker_leaf", reason, "retrieval_order")}
        counts = await scraped(peers.service)
        assert counts("ranking_degradations_total", component="ranker_leaf", reason=reason) == 1
        peers.leaf.mood.name = "ok"
        await eventually(lambda: _is_whole(peers))


@pytest.mark.parametrize(
    ("silent", "named"),
    [
        ({"leaf"}, {("ranker_leaf", "deadline_exceeded", "retrieval_order")}),
        ({"sequences"}, {("sequence", "deadline_exceeded", "history_free")}),
        ({"pins"}, {("pin_features", "deadline_exceeded", "default_features")}),
        (
            {"sequences", "pins", "leaf"},
            {
                ("sequence", "deadline_exceeded", "history_free"),
                ("pin_features", "deadline_exceeded", "default_features"),
                ("ranker_leaf", "deadline_exceeded", "retrieval_order"),
            },
        ),
    ],
    ids=["leaf", "sequences", "pins", "all"],
)
async def test_a_peer_that_never_answers_costs_no_answer_whatever_the_deadline(
    tmp_path: Path, silent: set[str], named: set[tuple[str, str, str]]
) -> None:
    """The root's own limits are far above the caller's deadline: it must keep time to answer by itself."""
    async with root_with_peers(tmp_path, **FAR) as peers:
        await _rank(peers)  # channels are open
        moods = {"leaf": peers.leaf.mood, "sequences": peers.indexer.sequences, "pins": peers.indexer.pins}
        for name in silent:
            moods[name].name = "hang"

        async def is_answered() -> bool:
            request = pb.RankRequest(user_id="ann", surface="home")
            for place, number in enumerate((50, 51, 52)):  # not cached yet
                request.candidates.add(pin_id=pin_id(number), retrieval_rank=place)
            response = await peers.root.Rank(request, timeout=0.5)
            assert sorted(_ids(response)) == [pin_id(number) for number in (50, 51, 52)]
            assert _missing(response) == named
            return "leaf" in silent or _ids(response)[0] == pin_id(52)  # the model still ordered them

        await eventually(lambda: _despite_timeouts(is_answered), within_s=20)  # a busy machine


async def test_with_little_time_fewer_are_scored_and_that_is_said(tmp_path: Path) -> None:
    ids = [pin_id(number) for number in range(60)] + [f"other-{number}" for number in range(90)]
    async with root_with_peers(tmp_path, rank_timeout_s=0.035) as peers:  # below what a full pool needs

        async def is_said() -> bool:
            request = pb.RankRequest(user_id="ann", surface="home")
            for place, name in enumerate(ids):
                request.candidates.add(pin_id=name, retrieval_rank=place)
            response = await peers.root.Rank(request, timeout=5)
            if _missing(response) != {("ranker", "deadline_exceeded", "fewer_candidates")}:
                return False  # a busy machine: the leaf had no time at all
            assert sorted(_ids(response)) == sorted(ids)
            assert peers.leaf.requests[-1].inputs["candidate_pin"].shape == [100]
            assert _ids(response)[100:] == ids[100:], "what was not scored follows in retrieval order"
            assert not response.pins[-1].score_by_head and response.pins[0].score_by_head
            return True

        await eventually(lambda: _despite_timeouts(is_said), within_s=20)


async def _despite_timeouts(check: Any) -> bool:
    try:
        return bool(await check())
    except AioRpcError:
        return False


async def test_an_unknown_user_is_ranked_without_history_and_nothing_is_missing(tmp_path: Path) -> None:
    async with root_with_peers(tmp_path, **FAR) as peers:
        response = await _rank(peers, user_id="nobody")
        assert (_ids(response), _missing(response), response.sequence_version) == (RANKED, set(), 0)
        (request,) = peers.leaf.requests
        assert request.inputs["history_pin"].shape == [0]
        assert (request.user_id, request.sequence_version) == ("nobody", 0), "a context of nothing is not kept"


async def test_a_reason_that_a_peer_makes_up_does_not_grow_the_metrics(tmp_path: Path) -> None:
    async with root_with_peers(tmp_path) as peers:
        peers.leaf.mood.name = "made up"
        for _ in range(150):
            await _rank(peers)
        counts = await scraped(peers.service)
    leaf = ("component", "ranker_leaf")
    series = [key for key in counts.values if key[0] == "ranking_degradations_total" and leaf in key[1]]
    assert 0 < len(series) <= 101


async def _is_whole(peers: Peers) -> bool:
    response = await _rank(peers)
    return not response.degradations and _ids(response) == RANKED
