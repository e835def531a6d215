"""The slate step for other callers."""

from typing import Any

import numpy as np
import pytest

from chassis.errors import Invalid
from protos.blender.v1 import blender_pb2 as pb
from protos.tensors import numpy_to_tensor
from services.blender.tests.running_blender import RunningBlender
from services.blender.tests.slow_reference import ssd_picks

RNG = np.random.default_rng(11)
VECTORS = RNG.normal(size=(40, 8)).astype(np.float32)
RELEVANCE = RNG.normal(size=40)
TAIL = RNG.normal(size=(3, 8)).astype(np.float32)


def request(**fields: Any) -> pb.BlendRequest:
    given: dict[str, Any] = {
        "ids": [f"id-{n}" for n in range(40)],
        "relevance": numpy_to_tensor(RELEVANCE),
        "vectors": numpy_to_tensor(VECTORS),
        "slate_size": 20,
        "diversity_weight": 0.5,
    }
    return pb.BlendRequest(**{**given, **fields})


async def test_picks_are_those_of_the_reference(blender: RunningBlender) -> None:
    response = await blender.blend(request(window=5, seed_tail=numpy_to_tensor(TAIL)))
    expected = ssd_picks(RELEVANCE, VECTORS, 0.5, 5, 20, TAIL)
    assert list(response.ids) == [f"id-{pick}" for pick in expected]
    assert len(response.relevance) == len(response.diversity_bonus) == 20


async def test_without_diversity_the_order_is_that_of_relevance(blender: RunningBlender) -> None:
    expected = [f"id-{pick}" for pick in np.argsort(-RELEVANCE)[:20]]
    assert list((await blender.blend(request(strategy="none"))).ids) == expected
    assert list((await blender.blend(request(diversity_weight=0.0))).ids) == expected


@pytest.mark.parametrize("strategy", ["ssd_spectral", "dpp", "mmr"])
async def test_other_strategies_differ_from_relevance_and_keep_the_best_first(
    blender: RunningBlender, strategy: str
) -> None:
    ids = list((await blender.blend(request(strategy=strategy, diversity_weight=2.0))).ids)
    by_relevance = [f"id-{pick}" for pick in np.argsort(-RELEVANCE)[:20]]
    assert ids[0] == by_relevance[0]
    assert ids != by_relevance
    assert len(set(ids)) == 20


async def test_a_slate_larger_than_the_pool_is_the_pool(blender: RunningBlender) -> None:
    assert len((await blender.blend(request(slate_size=1_000))).ids) == 40


async def test_no_candidates_make_an_empty_slate(blender: RunningBlender) -> None:
    assert list((await blender.blend(pb.BlendRequest(slate_size=5))).ids) == []


async def test_a_large_pool_goes_to_a_thread(blender: RunningBlender) -> None:
    num = 3_000
    response = await blender.blend(
        request(
            ids=[str(n) for n in range(num)],
            relevance=numpy_to_tensor(RNG.normal(size=num)),
            vectors=numpy_to_tensor(RNG.normal(size=(num, 8)).astype(np.float32)),
            slate_size=100,
        )
    )
    assert len(set(response.ids)) == 100


def changed(array: np.ndarray, value: float) -> Any:
    copy = array.copy()
    copy.flat[3] = value
    return numpy_to_tensor(copy)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"ids": ["a"] * 40}, "ids"),
        ({"ids": [""] + [str(n) for n in range(39)]}, "ids"),
        ({"ids": [str(n) for n in range(39)]}, "relevance"),
        ({"relevance": changed(RELEVANCE, float("nan"))}, "relevance"),
        ({"relevance": changed(RELEVANCE, float("inf"))}, "relevance"),
        ({"relevance": numpy_to_tensor(np.ones((40, 1)))}, "relevance"),
        ({"vectors": changed(VECTORS, float("nan"))}, "vectors"),
        ({"vectors": numpy_to_tensor(np.ones((39, 8), np.float32))}, "vectors"),
        ({"vectors": numpy_to_tensor(np.ones((40, 0), np.float32))}, "vectors"),
        ({"seed_tail": numpy_to_tensor(np.ones((2, 7), np.float32))}, "seed_tail"),
        ({"seed_tail": changed(TAIL, float("-inf"))}, "seed_tail"),
        ({"slate_size": 0}, "slate_size"),
        ({"slate_size": 1_001}, "slate_size"),
        ({"strategy": "magic"}, "strategy"),
        ({"diversity_weight": float("nan")}, "diversity_weight"),
        ({"diversity_weight": -1.0}, "diversity_weight"),
        ({"window": -1}, "window"),
        ({"window": 101}, "window"),
    ],
)
async def test_bad_inputs_name_their_field(blender: RunningBlender, fields: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as caught:
        await blender.blend(request(**fields))
    assert caught.value.field == field


async def test_a_tensor_whose_bytes_do_not_fit_is_refused(blender: RunningBlender) -> None:
    broken = numpy_to_tensor(RELEVANCE)
    broken.data = broken.data[:-1]
    with pytest.raises(Invalid):
        await blender.blend(request(relevance=broken))
