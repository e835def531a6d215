"""The trimmer's table over real gRPC: what arrives at a leaf, whatever happened to the lists of the root."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from chassis.errors import Corrupt
from chassis.metrics import Metrics
from chassis.testing import FakeClock, eventually
from modeling.signature import Signature, TensorSpec
from services.ranker.app.trimming import Trimming
from services.ranker.domain.features import FEATURES
from services.ranker.domain.preprocess import build_tensors
from services.ranker.domain.ranking import PinFeatures
from services.ranker.outbound.prometheus_trim_meter import TrimMetrics
from services.ranker.tests.recording_leaf import RecordingLeaf, untrained
from services.ranker.tests.running_ranker import World, rank
from services.ranker.tests.world import NOW_MS, candidates, event, pin_id, vector

ALL = set(FEATURES)
POPULAR, RELATED = untrained("popular"), untrained("related")
NO_LIST = b'{"model": "ranker", "inputs": [], "outputs": [], "settings": {}}'


def _generators(names: set[str]) -> set[str]:
    return {name.removeprefix("score_") for name in names if name.startswith("score_")}


async def _sent(root: Any, leaf: RecordingLeaf, **fields: Any) -> set[str]:
    """Names of the tensors of one more ranking."""
    assert not (await rank(root, [1, 2], **fields)).degradations
    return set(leaf.requests[-1].inputs)


@asynccontextmanager
async def _root_and_leaf(world: World) -> AsyncIterator[tuple[Any, RecordingLeaf]]:
    leaf = RecordingLeaf()
    async with leaf.running() as address, world.root(leaf_target=address) as root:
        yield root, leaf


async def test_an_unknown_model_gets_everything(tmp_path: Path) -> None:
    async with _root_and_leaf(World(tmp_path)) as (root, leaf):
        assert await _sent(root, leaf) == ALL


async def test_without_a_version_the_newest_list_holds(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.release(POPULAR)
    await world.release(RELATED)
    async with _root_and_leaf(world) as (root, leaf):
        assert _generators(await _sent(root, leaf)) == {"related"}
        assert leaf.requests[-1].model_version == ""


async def test_the_version_that_the_leaf_runs_is_named_and_its_list_holds(tmp_path: Path) -> None:
    world = World(tmp_path)
    async with _root_and_leaf(world) as (root, leaf):
        first = await world.release(POPULAR)
        await eventually(lambda: _is_sent(root, leaf, {"popular"}))
        leaf.current_version = first.version
        await _sent(root, leaf)
        await world.release(RELATED)
        for _ in range(3):
            assert _generators(await _sent(root, leaf)) == {"popular"}, "a new list must not trim for an old version"
            assert leaf.requests[-1].model_version == first.version


async def test_a_version_without_a_list_gets_everything(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.release(POPULAR)
    async with _root_and_leaf(world) as (root, leaf):
        leaf.current_version = "one the root never heard of"
        await _sent(root, leaf)
        assert await _sent(root, leaf) == ALL


@pytest.mark.parametrize("broken", [b"{}", b"not json", NO_LIST])
async def test_a_list_that_cannot_be_read_at_start_leaves_its_model_untrimmed(tmp_path: Path, broken: bytes) -> None:
    world = World(tmp_path)
    await world.release(POPULAR, module_info__json=broken)
    async with _root_and_leaf(world) as (root, leaf):
        assert await _sent(root, leaf) == ALL
        await world.release(RELATED)
        await eventually(lambda: _is_sent(root, leaf, {"related"}))


@pytest.mark.parametrize("broken", [b"{}", b"not json", NO_LIST])
async def test_one_corrupt_list_keeps_its_previous_one_while_others_move(tmp_path: Path, broken: bytes) -> None:
    world, home, search = World(tmp_path), RecordingLeaf(), RecordingLeaf()
    await world.release(POPULAR)
    await world.release(POPULAR, name="other")
    async with home.running() as at_home, search.running() as at_search:
        targets = f"ranker={at_home};other={at_search}"
        fields: Any = {"models": "ranker, other", "model_by_surface": "search=other"}
        async with world.root(leaf_target=targets, **fields) as root:
            await world.release(RELATED, module_info__json=broken)
            await world.release(RELATED, name="other")
            await eventually(lambda: _is_sent(root, search, {"related"}, surface="search"))
            assert _generators(await _sent(root, home)) == {"popular"}
    assert {request.model for request in home.requests} == {"ranker"}
    assert {request.model for request in search.requests} == {"other"}


async def test_no_feature_is_missed_while_a_version_that_reads_others_rolls_out(tmp_path: Path) -> None:
    world = World(tmp_path)
    versions = [(await world.release(POPULAR)).version]
    async with world.leaf() as (behind, _):
        leaf = RecordingLeaf(behind)
        async with leaf.running() as address, world.root(leaf_target=address) as root:
            await rank(root, [1, 2])
            versions.append((await world.release(RELATED)).version)

            async def is_second() -> bool:
                return (await rank(root, [1, 2])).versions.by_artifact["model:ranker"] == versions[1]

            await eventually(is_second)
    assert {response.model_version for response in leaf.responses} == set(versions)
    assert not [name for response in leaf.responses for name in response.defaulted_inputs]


def test_the_counts_of_the_trimmer() -> None:
    metrics, clock = Metrics("ranker"), FakeClock()
    trimming = Trimming(TrimMetrics(metrics, clock), clock)
    tensors = _request(3, 2)

    def value(name: str, **labels: str) -> float | None:
        return metrics.registry.get_sample_value(name, labels)

    trimming.payload("ranker", tensors)
    trimming.put_list("ranker", "v1", frozenset({"candidate_pin", "colour"}))
    trimming.payload("ranker", tensors)
    clock.advance(30.0)
    sizes = {name: array.nbytes for name, array in tensors.items()}
    assert value("trimmed_requests_total", reason="model_unknown") == 1
    assert value("trimmed_requests_total", reason="newest") == 1
    assert value("trimmed_bytes_total", side="before") == 2 * sum(sizes.values())
    assert value("trimmed_bytes_total", side="after") == sum(sizes.values()) + sizes["candidate_pin"]
    assert value("trim_absent_features_total", feature="colour") == 1
    assert value("trim_list_age_seconds", model="ranker") == pytest.approx(30.0)
    with pytest.raises(Corrupt):
        trimming.put_list("ranker", "v2", frozenset())
    assert value("trim_list_age_seconds", model="ranker") == pytest.approx(30.0), "nothing changed"


async def test_a_model_that_reads_a_third_of_the_features_is_sent_no_byte_of_the_others(tmp_path: Path) -> None:
    world, numbers = World(tmp_path), list(range(50))
    third = ("candidate_pin", "candidate_age_s", "surface", "score_popular", "history_pin")
    assert len(third) / len(ALL) == pytest.approx(1 / 3, abs=0.03)
    specs = tuple(TensorSpec(name, "float32", (-1,)) for name in third)
    signed = Signature("ranker", specs, (TensorSpec("click", "float32", (-1,)),)).to_json()
    async with _root_and_leaf(world) as (root, leaf):
        await rank(root, numbers)
        await world.release(POPULAR, module_info__json=signed)
        await eventually(lambda: _is_list_used(root, leaf, set(third)))
        await rank(root, numbers)
    untrimmed, trimmed = leaf.requests[0], leaf.requests[-1]
    size_of = {name: tensor.ByteSize() for name, tensor in untrimmed.inputs.items()}
    spared = sum(size for name, size in size_of.items() if name not in third)
    assert untrimmed.ByteSize() - trimmed.ByteSize() >= spared
    assert trimmed.ByteSize() < 0.4 * untrimmed.ByteSize()


async def _is_list_used(root: Any, leaf: RecordingLeaf, names: set[str]) -> bool:
    return await _sent(root, leaf) == names


async def _is_sent(root: Any, leaf: RecordingLeaf, generators: set[str], **fields: Any) -> bool:
    return _generators(await _sent(root, leaf, **fields)) == generators


def _request(num_candidates: int, num_history: int) -> dict[str, Any]:
    numbers = list(range(num_candidates))
    pins = {pin_id(number): PinFeatures(vector(number), NOW_MS - 1, 0) for number in numbers}
    return build_tensors(candidates(numbers), [event(number) for number in range(num_history)], pins, NOW_MS)
