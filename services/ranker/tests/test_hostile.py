"""Input that nobody means well with, over the real doors: a status that names the field, or a ranking that takes no
harm; and the next call is answered."""

import asyncio
import math
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from grpc import aio

from modeling.arrays import AnyArray, Floats
from protos.common.v1.common_pb2 import DTYPE_FLOAT32, Tensor
from protos.ranker.v1 import ranker_pb2 as pb
from protos.tensors import numpy_to_tensor, tensor_to_numpy
from services.ranker.domain.features import MAX_HISTORY
from services.ranker.domain.ranking import UserSequence
from services.ranker.offline.fit_ranker import FittedRanker
from services.ranker.tests.asks import ask
from services.ranker.tests.running_ranker import World, rank
from services.ranker.tests.world import NOW_MS, FakeScorer, event, pin_id

INVALID = grpc.StatusCode.INVALID_ARGUMENT
LONG = "x" * 129


async def _refused(call: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(aio.AioRpcError) as refused:
        await call
    return refused.value.code(), str(refused.value.details())


@asynccontextmanager
async def _root(tmp_path: Path, *probabilities: float) -> AsyncIterator[Any]:
    async with World(tmp_path).root(FakeScorer(probabilities)) as root:
        yield root
        response = await rank(root, list(range(len(probabilities))))
        assert len(response.pins) == len(probabilities) and not response.degradations, "the next call is answered"


def _candidates(*ids: str) -> list[pb.RankCandidate]:
    return [pb.RankCandidate(pin_id=name, retrieval_rank=place) for place, name in enumerate(ids)]


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"user_id": ""}, "user_id"),
        ({"user_id": LONG}, "user_id"),
        ({"surface": LONG}, "surface"),
        ({"request_id": LONG}, "request_id"),
        ({"request_time_ms": -1}, "request_time_ms"),
        ({"request_time_ms": 1 << 62}, "request_time_ms"),
        ({"candidates": _candidates("pin-001", "")}, "pin_id"),
        ({"candidates": _candidates("pin-001", LONG)}, "pin_id"),
        ({"candidates": _candidates(*(pin_id(number) for number in range(2_001)))}, "2001 candidates"),
        ({"versions": {"by_artifact": {f"model:{number}": "v" for number in range(65)}}}, "versions"),
        ({"versions": {"by_artifact": {"model:a": LONG}}}, "versions"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
async def test_the_root_refuses_with_the_field(tmp_path: Path, fields: dict[str, Any], named: str) -> None:
    request: dict[str, Any] = {"user_id": "ann", "surface": "home", "candidates": _candidates("pin-001")}
    async with _root(tmp_path, 0.1, 0.2) as root:
        code, said = await _refused(root.Rank(pb.RankRequest(**{**request, **fields}), timeout=5))
    assert code == INVALID and named in said
    assert len(said) < 400, "a refusal does not repeat what is too long"


@pytest.mark.parametrize("method", ["RankingService/Rank", "ScoringService/Score"])
async def test_bytes_that_are_no_message_are_invalid(tmp_path: Path, fitted: FittedRanker, method: str) -> None:
    world = World(tmp_path)
    await world.release(fitted)
    role = "root" if method.startswith("Ranking") else "leaf"
    async with world.address_of(role) as address, aio.insecure_channel(address) as channel:
        call: Any = channel.unary_unary(f"/corkboard.ranker.v1.{method}")
        code, _ = await _refused(call(b"\xff\xff\xff\xff", timeout=5))
    assert code == INVALID


@pytest.mark.parametrize("surface", ["", "lens", "HOME"])
async def test_a_surface_that_nobody_knows_is_ranked_as_all_are(
    tmp_path: Path, fitted: FittedRanker, surface: str
) -> None:
    world = World(tmp_path)
    await world.release(fitted)
    async with world.leaf() as (_, address), world.root(leaf_target=address) as root:
        response = await rank(root, [1, 2, 3], surface=surface)
    assert len(response.pins) == 3 and not response.degradations
    assert all(math.isfinite(pin.score) and pin.score_by_head for pin in response.pins)


async def test_numbers_of_retrieval_that_are_none_count_as_not_returned(tmp_path: Path, fitted: FittedRanker) -> None:
    """Whatever stands in the place of a score: infinite, not a number, beyond float32."""
    world = World(tmp_path)
    await world.release(fitted)
    async with world.leaf() as (_, address), world.root(leaf_target=address) as root:

        async def scores(value: float | None) -> dict[str, float]:
            request = pb.RankRequest(user_id="ann", surface="home", request_time_ms=NOW_MS)
            for place, number in enumerate((40, 41, 42)):
                given = {"popular": 1.0} if number != 41 else {} if value is None else {"popular": value}
                request.candidates.add(
                    pin_id=pin_id(number),
                    retrieval_rank=place,
                    retrieval_score=value or 0.0,
                    score_by_generator=given | {"a generator nobody knows": 1.0},
                )
            response = await root.Rank(request, timeout=5)
            assert not response.degradations
            return {pin.pin_id: pin.score for pin in response.pins}

        expected = await scores(None)
        for value in (math.nan, math.inf, -math.inf, 1e300, -1e300):
            assert await scores(value) == pytest.approx(expected, rel=1e-5), value


async def test_ranks_that_make_no_order_still_give_each_pin_once(tmp_path: Path) -> None:
    async with _root(tmp_path, 0.3, 0.2, 0.1) as root:
        request = pb.RankRequest(user_id="ann", surface="home")
        for number, place in ((1, 7), (2, -5), (1, -(1 << 31)), (3, (1 << 31) - 1)):
            request.candidates.add(pin_id=pin_id(number), retrieval_rank=place)
        response = await root.Rank(request, timeout=5)
    assert sorted(pin.pin_id for pin in response.pins) == [pin_id(number) for number in (1, 2, 3)]


@asynccontextmanager
async def _leaf(tmp_path: Path, fitted: FittedRanker) -> AsyncIterator[Any]:
    world = World(tmp_path)
    await world.release(fitted)
    async with world.leaf() as (leaf, _):
        yield leaf
        assert np.isfinite(_save(await _score(leaf, ask(3, 2).tensors))).all(), "the next call is answered"


async def _score(leaf: Any, tensors: Mapping[str, AnyArray | Tensor], **fields: Any) -> pb.ScoreResponse:
    inputs = {name: each if isinstance(each, Tensor) else numpy_to_tensor(each) for name, each in tensors.items()}
    response: pb.ScoreResponse = await leaf.Score(pb.ScoreRequest(model="ranker", inputs=inputs, **fields), timeout=5)
    return response


def _save(response: pb.ScoreResponse) -> Floats:
    return tensor_to_numpy(response.outputs["save"]).astype(np.float32)


@pytest.mark.parametrize(
    ("changed", "fields", "named"),
    [
        ({"candidate_pin": np.arange(2_001)}, {}, "2001 candidates"),
        ({"candidate_pin": np.zeros((3, 1), np.int64)}, {}, "candidate_pin"),
        ({"history_pin": np.arange(MAX_HISTORY + 1)}, {}, "257 events"),
        ({"candidate_age_s": Tensor(data=b"\0" * 7, shape=[3], dtype=DTYPE_FLOAT32)}, {}, "needs 12 bytes"),
        ({"candidate_age_s": Tensor(data=b"", shape=[-3], dtype=DTYPE_FLOAT32)}, {}, "negative"),
        ({"candidate_age_s": Tensor(data=b"\0" * 12, shape=[3])}, {}, "element type"),
        ({"candidate_age_s": Tensor(data=b"\0", shape=[1 << 40, 1 << 40], dtype=DTYPE_FLOAT32)}, {}, "needs"),
        ({}, {"user_id": LONG}, "user_id"),
        ({}, {"model": LONG}, "model"),
    ],
)
async def test_the_leaf_refuses_with_the_field(
    tmp_path: Path, fitted: FittedRanker, changed: dict[str, Any], fields: dict[str, str], named: str
) -> None:
    async with _leaf(tmp_path, fitted) as leaf:
        inputs = {name: numpy_to_tensor(value) for name, value in ask(3, 2).tensors.items()}
        inputs |= {name: v if isinstance(v, Tensor) else numpy_to_tensor(v) for name, v in changed.items()}
        request = pb.ScoreRequest(**{"model": "ranker", "inputs": inputs, **fields})  # type: ignore[arg-type]
        code, said = await _refused(leaf.Score(request, timeout=5))
    assert code == INVALID and named in said and len(said) < 400


async def test_no_candidates_are_no_scores(tmp_path: Path, fitted: FittedRanker) -> None:
    async with _leaf(tmp_path, fitted) as leaf:
        response = await _score(leaf, ask(0, 2).tensors)
    assert {head: list(tensor.shape) for head, tensor in response.outputs.items()}["save"] == [0]


@pytest.mark.parametrize(
    "shape", [(3, 7), (3, 9), (3,), (3, 8, 1), (0,)], ids=["narrower", "wider", "flat", "deeper", "empty"]
)
async def test_vectors_of_another_width_take_their_default(
    tmp_path: Path, fitted: FittedRanker, shape: tuple[int, ...]
) -> None:
    async with _leaf(tmp_path, fitted) as leaf:
        whole = ask(3, 2).tensors
        without = await _score(leaf, {name: value for name, value in whole.items() if name != "candidate_content"})
        odd = await _score(leaf, {**whole, "candidate_content": np.ones(shape, np.float32)})
    assert list(odd.defaulted_inputs) == list(without.defaulted_inputs) == ["candidate_content"]
    np.testing.assert_allclose(_save(odd), _save(without), rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("history_event_type", np.asarray([999, 1])),
        ("history_event_type", np.asarray([-5, 1])),
        ("history_event_type", np.asarray([math.nan, 1.0])),
        ("history_event_type", np.asarray([1e300, 1.0])),
        ("surface", np.asarray([77, 77, 77])),
        ("surface", np.asarray([-1, -1, -1])),
        ("surface", np.asarray([1, 2, 3])),
        ("candidate_pin", np.asarray([-1, -(1 << 63), (1 << 63) - 1])),
        ("candidate_pin", np.asarray([math.nan, math.inf, 1e300])),
        ("candidate_pin", np.asarray([True, False, True])),
        ("history_age_s", np.asarray([-1e30, 1e30], np.float32)),
        ("history_age_s", np.asarray([5, -5])),
        ("candidate_age_s", np.asarray([-1e38, 1e38, math.nan], np.float32)),
        ("candidate_price", np.asarray([-1e38, 1e38, -math.inf], np.float32)),
        ("candidate_price", np.asarray([1e300, 0.0, -1e300])),
        ("score_popular", np.asarray([3e38, -3e38, math.nan], np.float32)),
    ],
)
async def test_numbers_out_of_all_range_give_probabilities_all_the_same(
    tmp_path: Path, fitted: FittedRanker, name: str, value: AnyArray
) -> None:
    async with _leaf(tmp_path, fitted) as leaf:
        response = await _score(leaf, {**ask(3, 2).tensors, name: value})
    for tensor in response.outputs.values():
        probabilities = tensor_to_numpy(tensor)
        assert probabilities.shape == (3,)
        assert ((probabilities >= 0) & (probabilities <= 1)).all()


async def test_what_one_request_brings_harms_nobody_in_its_batch(tmp_path: Path, fitted: FittedRanker) -> None:
    good, hostile = ask(4, 3).tensors, dict(ask(3, 2).tensors)
    hostile["history_event_type"] = np.asarray([999, -5])
    hostile["candidate_content"] = np.full_like(hostile["candidate_content"], 3e38)
    async with _leaf(tmp_path, fitted) as leaf:
        alone = _save(await _score(leaf, good))
        rows = [good, hostile] * 8
        answers = await asyncio.gather(*(_score(leaf, each, user_id="eve", sequence_version=1) for each in rows))
    for answer in answers[::2]:
        np.testing.assert_allclose(_save(answer), alone, rtol=1e-4, atol=1e-6)


async def test_a_vector_so_large_that_it_overflows_never_wins(tmp_path: Path, fitted: FittedRanker) -> None:
    world = World(tmp_path)
    await world.release(fitted)
    world.sequences.by_user["ann"] = UserSequence(tuple(event(number) for number in (3, 9)), 1)
    world.pins.vectors[pin_id(41)] = np.full(8, 3e38, np.float32)
    async with world.leaf() as (_, address), world.root(leaf_target=address) as root:
        response = await rank(root, [40, 41, 43])
    assert all(math.isfinite(pin.score) for pin in response.pins)
    if response.degradations:  # the model had no answer for it: then it is last
        assert response.pins[-1].pin_id == pin_id(41)
