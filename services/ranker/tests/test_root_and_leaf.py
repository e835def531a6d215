"""A real root and a real leaf with a trained model: what must hold of their answers whatever happens around them."""

import asyncio
import io
import json
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chassis.grpc.server import GrpcDoor
from chassis.lifecycle import Service
from chassis.testing import eventually
from protos.ranker.v1 import ranker_pb2 as pb
from protos.tensors import numpy_to_tensor, tensor_to_numpy
from services.ranker.domain.features import HEADS
from services.ranker.domain.ranking import UserSequence
from services.ranker.offline.fit_ranker import FittedRanker
from services.ranker.tests.asks import ask
from services.ranker.tests.recording_leaf import untrained
from services.ranker.tests.running_ranker import World, rank
from services.ranker.tests.scraping import scraped
from services.ranker.tests.world import event, pin_id
from services.ranker.wiring import build


@asynccontextmanager
async def both(world: World, **leaf_fields: Any) -> AsyncIterator[tuple[Any, Service]]:
    """A root's stub, and its leaf."""
    async with build(world.config("leaf", **leaf_fields), bus=world.bus) as leaf:
        (door,) = (part for part in leaf._doors if isinstance(part, GrpcDoor))
        async with world.root(leaf_target=door.address) as root:
            yield root, leaf


@pytest.fixture
async def world(tmp_path: Path, fitted: FittedRanker) -> World:
    found = World(tmp_path)
    await found.release(fitted)
    found.sequences.by_user["ann"] = UserSequence(tuple(event(number) for number in (3, 9, 15, 21, 27)), 1)
    return found


def scores(response: pb.RankResponse) -> dict[str, float]:
    return {pin.pin_id: pin.score for pin in response.pins}


async def test_a_pin_of_nan_features_is_a_pin_without_features(world: World) -> None:
    """NaN never wins: it is worth what nothing is worth, and every number that was replaced is counted."""
    async with both(world) as (root, leaf):
        world.pins.vectors[pin_id(41)] = np.full(8, np.nan, np.float32)
        odd = await rank(root, [40, 41, 43])
        counts = await scraped(leaf)
    assert not odd.degradations and all(math.isfinite(pin.score) for pin in odd.pins)
    assert counts("not_finite_values_total") == 8
    world.pins.vectors[pin_id(41)] = np.zeros(8, np.float32)
    async with both(world) as (root, leaf):
        assert scores(odd) == pytest.approx(scores(await rank(root, [40, 41, 43])), rel=1e-5)


async def test_an_input_that_the_root_lacks_is_counted_by_name(world: World) -> None:
    async with both(world) as (_, leaf):
        (door,) = (part for part in leaf._doors if isinstance(part, GrpcDoor))
        async with world.stub_of(door.address) as stub:
            inputs = {name: numpy_to_tensor(each) for name, each in ask(3, 2).tensors.items() if "price" not in name}
            response = await stub.Score(pb.ScoreRequest(model="ranker", inputs=inputs), timeout=5)
        counts = await scraped(leaf)
    assert list(response.defaulted_inputs) == ["candidate_price"]
    assert counts("defaulted_inputs_total", input="candidate_price") == 1


async def test_an_unknown_user_is_scored_as_somebody_without_history(world: World) -> None:
    async with both(world) as (root, _):
        stranger = await rank(root, list(range(40, 50)), user_id="stranger")
        other = await rank(root, list(range(40, 50)), user_id="another stranger")
        known = await rank(root, list(range(40, 50)))
    assert not stranger.degradations and stranger.sequence_version == 0
    assert scores(stranger) == pytest.approx(scores(other), rel=1e-6)
    assert scores(stranger) != pytest.approx(scores(known), rel=1e-3)


async def test_a_duplicate_changes_no_score(world: World) -> None:
    async with both(world) as (root, _):
        once, twice = await rank(root, [40, 41, 42]), await rank(root, [40, 41, 42, 41, 40, 40])
    assert scores(once) == pytest.approx(scores(twice), rel=1e-5)
    assert len(twice.pins) == 3


async def test_a_leaf_that_dies_is_named_and_one_that_comes_back_is_used(world: World) -> None:
    leaf = build(world.config("leaf"), bus=world.bus)
    await leaf.start()
    (door,) = (part for part in leaf._doors if isinstance(part, GrpcDoor))
    address = door.address
    async with world.root(leaf_target=address) as root:
        assert not (await rank(root, [40, 41])).degradations
        await leaf.stop()
        dead = await rank(root, [40, 41])
        assert [pin.pin_id for pin in dead.pins] == [pin_id(40), pin_id(41)]
        assert [(each.component, each.level) for each in dead.degradations] == [("ranker_leaf", "retrieval_order")]
        async with build(world.config("leaf", grpc_port=int(address.rpartition(":")[2])), bus=world.bus):

            async def is_whole() -> bool:
                return not (await rank(root, [40, 41])).degradations

            await eventually(is_whole, within_s=20)


async def test_versions_swap_under_requests_and_each_is_answered_by_one_of_them_in_whole(
    world: World, fitted: FittedRanker
) -> None:
    """Loaded beside, checked by the golden request, one reference rebound: what is in flight keeps what it took."""
    bundles = [fitted, untrained("co_engaged", "popular", seed=5), untrained("co_engaged", "popular", seed=6)]
    expected: dict[str, np.ndarray] = {}
    request = pb.ScoreRequest(model="ranker", inputs={n: numpy_to_tensor(v) for n, v in ask(6, 5).tensors.items()})
    async with both(world) as (_, leaf):
        (door,) = (part for part in leaf._doors if isinstance(part, GrpcDoor))
        async with world.stub_of(door.address) as stub:
            seen: list[pb.ScoreResponse] = []
            is_over = asyncio.Event()

            async def keep_asking() -> None:
                while not is_over.is_set():
                    seen.append(await stub.Score(request, timeout=5))

            async with asyncio.TaskGroup() as tasks:
                for _ in range(4):
                    tasks.create_task(keep_asking())
                for number, bundle in enumerate([*bundles, *bundles]):
                    release = await world.release(bundle, note__txt=str(number).encode())

                    async def is_swapped(version: str = release.version) -> bool:
                        return bool((await stub.Score(request, timeout=5)).current_version == version)

                    await eventually(is_swapped, within_s=20)
                    answer = await stub.Score(request, timeout=5)
                    expected[release.version] = tensor_to_numpy(answer.outputs["save"])
                is_over.set()
    versions = {response.model_version for response in seen}
    assert len(versions & expected.keys()) > 1, "nothing was asked while versions swapped"
    for response in seen:
        if response.model_version in expected:
            np.testing.assert_allclose(
                tensor_to_numpy(response.outputs["save"]).astype(np.float32),
                expected[response.model_version].astype(np.float32),
                rtol=1e-4,
                atol=1e-6,
            )


@pytest.mark.parametrize("lacking", ["model.pt", "module_info.json", "calibration.json", "golden.npz"])
async def test_a_bundle_without_one_of_its_files_keeps_the_model_in_use(
    world: World, fitted: FittedRanker, lacking: str
) -> None:
    files = {name: content for name, content in fitted.files.items() if name != lacking}
    async with both(world) as (root, leaf):
        before = await rank(root, [40, 41])
        await world.release_files(files)
        good = await world.release(fitted, note__txt=b"a good one")

        async def is_swapped() -> bool:
            return (await rank(root, [40, 41])).versions.by_artifact["model:ranker"] == good.version

        await eventually(is_swapped, within_s=20)
        counts = await scraped(leaf)
    assert before.versions.by_artifact["model:ranker"] != good.version
    assert counts("bundle_swaps_total", name="ranker", outcome="failed") >= 1


async def test_a_signature_that_is_not_the_graphs_is_refused(world: World, fitted: FittedRanker) -> None:
    """The inputs of a model that reads other generators, beside weights that do not."""
    other = untrained("related")
    async with both(world) as (root, leaf):
        first = (await rank(root, [40, 41])).versions.by_artifact["model:ranker"]
        for name in ("module_info__json", "model__pt"):
            await world.release(fitted, "ranker", **{name: other.files[name.replace("__", ".")]})

        async def is_refused() -> bool:
            return (await scraped(leaf))("bundle_swaps_total", name="ranker", outcome="failed") >= 2

        await eventually(is_refused, within_s=20)
        assert (await rank(root, [40, 41])).versions.by_artifact["model:ranker"] == first


async def test_a_variant_on_trial_sees_a_copy_and_changes_no_answer(world: World) -> None:
    await world.release(untrained("co_engaged", "popular"), "ranker-next")
    async with both(world) as (root, _):
        alone = await rank(root, [40, 41, 42])
    async with both(world, shadow_models="ranker-next", shadow_share=1.0) as (root, leaf):
        shadowed = await rank(root, [40, 41, 42])

        async def is_compared() -> bool:
            return (await scraped(leaf))("shadow_requests_total", variant="ranker-next", outcome="compared") == 1

        await eventually(is_compared, within_s=10)
        counts = await scraped(leaf)
    assert scores(shadowed) == pytest.approx(scores(alone), rel=1e-6)
    assert shadowed.versions.by_artifact.keys() == {"model:ranker"}
    for head in HEADS:
        assert counts("shadow_difference_count", variant="ranker-next", head=head) == 1


async def test_a_surface_is_calibrated_by_its_own_scale_and_bias(world: World, fitted: FittedRanker) -> None:
    fits = json.loads(fitted.files["calibration.json"])
    assert "search/save" not in fits, "until now that of all surfaces serves there"
    fits["search/save"] = {"scale": fits["save"]["scale"], "bias": fits["save"]["bias"] + 1.0}
    async with both(world) as (root, _):
        before = {name: await rank(root, [40, 41], surface=name) for name in ("home", "search")}
        good = await world.release(fitted, calibration__json=json.dumps(fits).encode())

        async def is_swapped() -> bool:
            return (await rank(root, [40])).versions.by_artifact["model:ranker"] == good.version

        await eventually(is_swapped, within_s=20)
        after = {name: await rank(root, [40, 41], surface=name) for name in ("home", "search")}

    def save(response: pb.RankResponse) -> dict[str, float]:
        return {pin.pin_id: pin.score_by_head["save"] for pin in response.pins}

    assert save(after["home"]) == pytest.approx(save(before["home"]), rel=1e-6)
    assert all(after > save(before["search"])[pin] for pin, after in save(after["search"]).items())


async def test_a_root_whose_list_cannot_be_read_starts_sends_all_and_raises_the_alarm(
    tmp_path: Path, fitted: FittedRanker
) -> None:
    """`BundleRefused` watches these series."""
    world = World(tmp_path)
    bad = await world.release(fitted, module_info__json=b"{}")
    config = world.config("root", leaf_target="127.0.0.1:1")
    async with build(config, bus=world.bus, sequences=world.sequences, pins=world.pins) as root:
        counts = await scraped(root)
        assert root.health.is_ready()
    assert counts("bundle_swaps_total", name="ranker", outcome="failed") >= 1
    assert counts("bundle_refused_info", name="ranker", version=bad.version) == 1


async def test_a_golden_request_and_its_answers_are_in_every_bundle(world: World, fitted: FittedRanker) -> None:
    """Also in those of one surface, each with its own model's numbers."""
    kept = {"whole": fitted.files, **fitted.files_by_surface()}
    answers = {}
    for name, files in kept.items():
        with np.load(io.BytesIO(files["golden.npz"]), allow_pickle=False) as stored:
            answers[name] = stored["golden_logits"]
            assert stored["candidate_pin"].shape[0] == len(answers[name]) > 0
    assert all(found.shape[1] == len(HEADS) and np.isfinite(found).all() for found in answers.values())
