"""The shopping generator through the service's door: ads only, what the person buys, and what may be missing."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

from chassis.bundles import BundleStore
from chassis.testing import eventually
from definitions.surfaces import surfaces
from modeling.release import announce, write_bundle
from protos.cg.v1 import cg_pb2 as pb
from sequences.definitions.surface import Surface
from services.cg.domain.generators.shopping import NoModelYet, ShoppingPins
from services.cg.domain.merge import merge
from services.cg.domain.pin_index import PinIndex
from services.cg.domain.pin_snapshot import PinFilter
from services.cg.domain.retrieval import Generated, HistoryEvent, RetrievalQuery, StoredVector
from services.cg.offline.rows_task import RowsTask
from services.cg.offline.shopping_task import FittedShopping, fit_shopping_task
from services.cg.offline.training_runtime import HERE
from services.cg.outbound.bundle_model_files import read_shopping
from services.cg.tests.running_cg import Running, running_cg
from services.cg.tests.shopping_world import (
    NUM_ADS,
    NUM_OTHERS,
    REQUESTS_PER_USER,
    SETTINGS,
    START_MS,
    indexed,
    pin_id,
    write_dataset,
)

ONLY = ("shopping",)
NOW_MS = START_MS + REQUESTS_PER_USER * 48 * 3_600_000


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> FittedShopping:
    torch.set_num_threads(1)
    dataset = write_dataset(tmp_path_factory.mktemp("shopping") / "dataset-shop")
    return fit_shopping_task(RowsTask("shopping", str(dataset), 3, num_epochs=10, settings=SETTINGS), HERE)


@pytest.fixture(scope="module")
def files(fitted: FittedShopping) -> Mapping[str, bytes]:
    return fitted.files(fitted.evaluation())


def _numbers(response: pb.RetrieveResponse) -> list[int]:
    return [int(candidate.pin_id[-3:]) for candidate in response.candidates]


def _missing(response: pb.RetrieveResponse) -> set[tuple[str, str]]:
    return {(item.component, item.reason) for item in response.degradations}


async def _released(cg: Running, files: Mapping[str, bytes]) -> str:
    release = write_bundle(cg.store, "shopping", files, {}, "test")
    await announce(cg.bus, [release])

    async def is_swapped() -> bool:
        response = await cg.retrieve(generators=ONLY)
        return response.versions.by_artifact["model:shopping"] == release.version

    await eventually(is_swapped, within_s=10.0)
    return release.version


async def _with_ads(cg: Running, num_ads: int = NUM_ADS) -> None:
    for number in [*range(num_ads), *range(NUM_ADS, NUM_ADS + NUM_OTHERS)]:
        cg.publish(indexed(number))

    async def is_read() -> bool:
        last = pin_id(NUM_ADS + NUM_OTHERS - 1)
        return last in {
            each.pin_id for each in (await cg.retrieve(generators=["popular"], num_candidates=500)).candidates
        }

    await eventually(is_read, within_s=10.0)


async def test_only_ads_are_returned_those_that_the_person_buys(tmp_path: Path, files: Mapping[str, bytes]) -> None:
    async with running_cg(tmp_path, num_pins=0) as cg:
        await _with_ads(cg)
        await _released(cg, files)
        for kind in (0, 1):
            # what was bought says what is needed
            history = [pin_id(number) for number in range(20 + kind, 32, 2)]
            cg.indexer.events["buyer"] = [HistoryEvent(each, "conversion", NOW_MS) for each in history]
            found = _numbers(await cg.retrieve(generators=ONLY, user_id="buyer", num_candidates=15))
            assert max(found) < NUM_ADS and len(set(found)) == 15
            assert np.mean([number % 2 == kind for number in found]) > 0.9
        everything = _numbers(await cg.retrieve(generators=ONLY, user_id="buyer", num_candidates=500))
        assert sorted(everything) == list(range(NUM_ADS)), "k is honoured as far as there are ads"


async def test_a_new_ad_is_retrievable_and_a_removed_one_is_not(tmp_path: Path, files: Mapping[str, bytes]) -> None:
    async with running_cg(tmp_path, num_pins=0) as cg:
        await _with_ads(cg, num_ads=NUM_ADS - 1)
        await _released(cg, files)
        cg.publish(indexed(NUM_ADS - 1))
        cg.remove(pin_id(0))

        async def is_changed() -> bool:
            found = _numbers(await cg.retrieve(generators=ONLY, num_candidates=500))
            return NUM_ADS - 1 in found and 0 not in found

        await eventually(is_changed, within_s=10.0)


async def test_without_ads_nothing_is_missing_and_with_ads_but_no_bundle_it_is_named(tmp_path: Path) -> None:
    async with running_cg(tmp_path, num_pins=20) as cg:
        response = await cg.retrieve(generators=["shopping", "popular"])
        assert response.candidates and "shopping" not in {each for each, _ in _missing(response)}
        cg.publish(indexed(0))

        async def is_named() -> bool:
            return ("shopping", "not_found") in _missing(await cg.retrieve(generators=["shopping", "popular"]))

        await eventually(is_named, within_s=10.0)


async def test_stored_vectors_serve_without_the_sequence_unless_another_version_made_them(
    tmp_path: Path, fitted: FittedShopping, files: Mapping[str, bytes]
) -> None:
    async with running_cg(tmp_path, num_pins=0) as cg:
        await _with_ads(cg)
        version = await _released(cg, files)
        cg.indexer.is_sequence_away = True
        without = _numbers(await cg.retrieve(generators=ONLY, num_candidates=10))
        ad_V = fitted.trainer.item_vectors(np.asarray([7]))[0]
        cg.indexer.vectors["ann", "shopping"] = StoredVector(version, ad_V)
        response = await cg.retrieve(generators=ONLY, num_candidates=10)
        assert _numbers(response)[0] == 7 and _missing(response) == {("sequence", "unavailable")}
        cg.indexer.vectors["ann", "shopping"] = StoredVector("older", ad_V)
        response = await cg.retrieve(generators=ONLY, num_candidates=10)
        assert ("shopping_vector", "version_mismatch") in _missing(response) and _numbers(response) == without


def _read(folder: Path, files: Mapping[str, bytes]) -> ShoppingPins:
    store = BundleStore(str(folder))
    release = write_bundle(store, "shopping", files, {}, "test")
    return read_shopping(store.open(release), release.version)


def _index(num_ads: int = NUM_ADS) -> PinIndex:
    index = PinIndex()
    for number in [*range(num_ads), *range(NUM_ADS, NUM_ADS + NUM_OTHERS)]:
        index.upsert(indexed(number))
    return index


def test_what_serving_encodes_is_what_training_encodes(
    tmp_path: Path, fitted: FittedShopping, files: Mapping[str, bytes]
) -> None:
    """Golden: the bundle read back, on the live index, gives the trainer's own vectors and order."""
    generator, snapshot = _read(tmp_path, files), _index().snapshot()
    pins, types = [3, 130, 8, 21, 44], ["click", "save", "conversion", "click", "long_view"]
    events = tuple(HistoryEvent(pin_id(p), t, NOW_MS) for p, t in zip(pins, types, strict=True))
    event_types = ("click", "save", "long_view", "share", "conversion", "rating")
    type_1L = np.asarray([[event_types.index(each) + 1 for each in types]])
    user_V = fitted.trainer.user_vectors(np.asarray([pins]), type_1L)[0]
    np.testing.assert_allclose(generator.encode_history(events, snapshot), user_V, atol=2e-5)
    query = RetrievalQuery(snapshot, snapshot.allowed(PinFilter()), NOW_MS, events)
    found = generator.generate(query, 20)
    score_A = fitted.trainer.item_vectors(fitted.data.ads) @ user_V
    np.testing.assert_allclose(found.score_K, np.sort(score_A)[::-1][:20], atol=2e-5)
    nothing = fitted.trainer.user_vectors(np.full((1, 4), -1), np.zeros((1, 4), np.int64))[0]
    np.testing.assert_allclose(generator.encode_history((), snapshot), nothing, atol=2e-5)


def test_a_bundle_says_how_it_was_judged(fitted: FittedShopping) -> None:
    report = fitted.evaluation()
    found = report["first_conversion_of_held_out_time"]
    assert found["shopping"]["recall@10"] > found["popularity"]["recall@10"]
    assert report["same_user_negative_share"]["after_mask"] == 0.0 < report["same_user_negative_share"]["before_mask"]


@pytest.mark.parametrize("surface", [surfaces.home, surfaces.related, surfaces.search])
@pytest.mark.parametrize("overlap", [0.0, 0.3, 0.6])
def test_ads_are_a_sensible_share_of_a_merged_answer(surface: Surface, overlap: float) -> None:
    """Lists of 300 by every generator; the generators of other pins agree on a share of theirs."""
    index, random = PinIndex(), np.random.default_rng(1)
    for number in range(NUM_ADS):
        index.upsert(indexed(number))
    num_rows, k = 6_000, 300
    weights = {each.name: each.weight for each in surface.generators}
    agreed = NUM_ADS + random.permutation(k)
    generated = {}
    for name in weights:
        own = random.permutation(np.arange(NUM_ADS + k, num_rows))[:k]
        rows = np.where(random.random(k) < overlap, random.permutation(agreed), own)
        rows = random.permutation(NUM_ADS) if name == "shopping" else rows
        generated[name] = Generated(rows, np.linspace(1, 0, len(rows)).astype(np.float32))
    groups = np.zeros(num_rows, dtype=np.int64)
    snapshot = _Rows(index.snapshot(), groups)
    merged = merge(generated, weights, snapshot, k)  # type: ignore[arg-type]
    share = sum(each.generator == "shopping" for each in merged) / len(merged)
    assert 0.015 < share < 0.15, share


class _Rows:
    """A snapshot of so many rows, as far as a merge looks."""

    def __init__(self, snapshot: object, group_N: np.ndarray) -> None:
        self.columns = type("Columns", (), {"group_N": group_N})()
        self.pin_ids = [f"row-{row}" for row in range(len(group_N))]

    def group_name(self, row: int) -> str:
        return ""


def test_the_stand_in_speaks_up_when_there_are_ads() -> None:
    snapshot = _index(num_ads=0).snapshot()
    assert not len(NoModelYet().generate(RetrievalQuery(snapshot, snapshot.allowed(PinFilter()), NOW_MS), 5).row_K)
