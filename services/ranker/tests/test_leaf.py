"""The leaf through its real door: what it scores, fills in, refuses and keeps."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from chassis.testing import eventually
from modeling.arrays import AnyArray
from protos.ranker.v1 import ranker_pb2 as pb
from protos.tensors import numpy_to_tensor, tensor_to_numpy
from services.ranker.config import Config
from services.ranker.domain.features import HEADS
from services.ranker.domain.preprocess import build_tensors
from services.ranker.domain.ranking import PinFeatures, UserSequence
from services.ranker.offline.fit_ranker import FittedRanker
from services.ranker.tests.recording_leaf import untrained
from services.ranker.tests.running_ranker import World, rank
from services.ranker.tests.world import NOW_MS, candidates, event, pin_id, vector


def _tensors(numbers: list[int], history: list[int]) -> dict[str, AnyArray]:
    pins = {pin_id(n): PinFeatures(vector(n), NOW_MS - 10_000_000, 0) for n in {*numbers, *history}}
    return build_tensors(candidates(numbers, popular=2.0), [event(n) for n in history], pins, NOW_MS)


async def _score(leaf: Any, tensors: Mapping[str, AnyArray], model_version: str = "") -> pb.ScoreResponse:
    inputs = {name: numpy_to_tensor(value) for name, value in tensors.items()}
    request = pb.ScoreRequest(model="ranker", inputs=inputs, model_version=model_version)
    response: pb.ScoreResponse = await leaf.Score(request, timeout=5)
    return response


def _save(response: pb.ScoreResponse) -> AnyArray:
    return tensor_to_numpy(response.outputs["save"])


async def test_the_history_decides_which_taste_is_ranked_first(tmp_path: Path, fitted: FittedRanker) -> None:
    world = World(tmp_path)
    release = await world.release(fitted)
    numbers = list(range(40, 60))
    async with world.leaf() as (leaf, _):
        for taste in (0, 1):
            response = await _score(leaf, _tensors(numbers, [n + taste for n in (2, 8, 14, 20, 26)]))
            save = _save(response)
            liked = np.asarray([number % 2 == taste for number in numbers])
            assert save[liked].mean() > save[~liked].mean()
            assert set(response.outputs) == set(HEADS)
            assert response.model_version == release.version


async def test_absent_and_broken_inputs_take_defaults_and_are_counted(tmp_path: Path, fitted: FittedRanker) -> None:
    world = World(tmp_path)
    await world.release(fitted)
    async with world.leaf() as (leaf, _):
        tensors = _tensors([1, 2, 3], [4])
        del tensors["candidate_age_s"]
        tensors["candidate_content"] = np.full_like(tensors["candidate_content"], np.nan)
        tensors["score_popular"] = np.asarray([np.inf, 1.0, 1.0], dtype=np.float32)
        response = await _score(leaf, tensors)
        assert list(response.defaulted_inputs) == ["candidate_age_s"]
        assert all(np.isfinite(tensor_to_numpy(tensor)).all() for tensor in response.outputs.values())
        misshapen = {**_tensors([1, 2, 3], []), "candidate_price": np.zeros(7, dtype=np.float32)}
        assert list((await _score(leaf, misshapen)).defaulted_inputs) == ["candidate_price"]


async def test_a_candidate_never_changes_another_ones_score(tmp_path: Path, fitted: FittedRanker) -> None:
    world = World(tmp_path)
    await world.release(fitted)
    async with world.leaf() as (leaf, _):
        together = _save(await _score(leaf, _tensors([1, 2, 3], [4, 5])))
        alone = [_save(await _score(leaf, _tensors([n], [4, 5])))[0] for n in (1, 2, 3)]
    np.testing.assert_allclose(np.asarray(together, dtype=np.float32), alone, rtol=1e-4)


async def test_without_a_model_the_leaf_says_unavailable(tmp_path: Path) -> None:
    async with World(tmp_path).leaf() as (leaf, _):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await _score(leaf, _tensors([1], []))
    assert refused.value.code() == grpc.StatusCode.UNAVAILABLE


async def test_a_request_without_candidates_is_invalid(tmp_path: Path, fitted: FittedRanker) -> None:
    world = World(tmp_path)
    await world.release(fitted)
    async with world.leaf() as (leaf, _):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await _score(leaf, {})
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("broken", ["model__pt", "module_info__json", "calibration__json", "golden__npz"])
async def test_a_broken_bundle_keeps_the_model_in_use(tmp_path: Path, fitted: FittedRanker, broken: str) -> None:
    world = World(tmp_path)
    first = await world.release(fitted)
    async with world.leaf() as (leaf, _):
        await world.release(fitted, "ranker", **{broken: b"{}"})
        second = await world.release(fitted, note__txt=b"a good one")

        async def is_second() -> bool:
            return (await _score(leaf, _tensors([1], []))).model_version == second.version

        await eventually(is_second)
    assert first.version != second.version


async def test_root_and_leaf_together_rank_by_taste(tmp_path: Path, fitted: FittedRanker) -> None:
    world = World(tmp_path)
    release = await world.release(fitted)
    world.sequences.by_user["ann"] = UserSequence(tuple(event(n) for n in (3, 9, 15, 21, 27)), 1)
    async with world.leaf() as (_, address), world.root(leaf_target=address) as root:
        response = await rank(root, list(range(40, 60)))
    assert not response.degradations
    assert response.versions.by_artifact == {"model:ranker": release.version}
    top = [int(pin.pin_id[-3:]) % 2 for pin in response.pins[:10]]
    assert sum(top) >= 8


async def test_a_model_with_other_answers_than_in_training_is_refused(tmp_path: Path, fitted: FittedRanker) -> None:
    world = World(tmp_path)
    first = await world.release(fitted)
    async with world.leaf() as (leaf, _):
        assert (await _score(leaf, _tensors([1], []))).model_version == first.version
    other = untrained("co_engaged", "popular")
    await world.release(fitted, model__pt=other.files["model.pt"])  # right shapes, wrong weights
    async with world.leaf() as (leaf, _):  # has tried what was released once it is started
        assert (await _score(leaf, _tensors([1], []))).current_version == first.version
    good = await world.release(other)
    async with world.leaf() as (leaf, _):
        assert (await _score(leaf, _tensors([1], []))).current_version == good.version


async def test_the_version_before_answers_roots_that_name_it(tmp_path: Path, fitted: FittedRanker) -> None:
    world = World(tmp_path)
    first = await world.release(fitted)
    async with world.leaf() as (leaf, _):
        second = await world.release(untrained("related"))

        async def is_second() -> bool:
            return (await _score(leaf, _tensors([1], []))).model_version == second.version

        await eventually(is_second)
        named = await _score(leaf, _tensors([1], []), first.version)
        assert (named.model_version, named.current_version) == (first.version, second.version)
        unheard = await _score(leaf, _tensors([1], []), "unheard")
        assert unheard.model_version == second.version


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({"models": " "}, "models"),
        ({"model_by_surface": "search=other"}, "model_by_surface"),
        ({"models": "ranker,other", "leaf_target": "ranker=a:1"}, "leaf_target"),
        ({"leaf_target": "ranker="}, "name=value"),
    ],
)
def test_a_configuration_without_a_home_for_a_model_is_refused(fields: dict[str, str], names: str) -> None:
    with pytest.raises(ValueError, match=names):
        Config.model_validate(fields)
