"""Hybrid inference through the service's door: context and head per request, stored states of one version only."""

from pathlib import Path

import numpy as np
import torch

from chassis.bundles import BundleStore
from chassis.testing import eventually
from modeling.release import write_bundle
from protos.cg.v1 import cg_pb2 as pb
from services.cg.domain.pin_index import PinIndex
from services.cg.domain.pin_snapshot import PinFilter
from services.cg.domain.retrieval import HistoryEvent, RetrievalQuery, StoredVector
from services.cg.offline.fit_generators import Fitted
from services.cg.outbound.bundle_model_files import read_contextual
from services.cg.tests.running_cg import Running, running_cg
from services.cg.tests.world import NOW_MS, NUM_PINS, pin, pin_id, training_data

ONLY = ("contextual",)


def _ids(response: pb.RetrieveResponse) -> list[str]:
    return [candidate.pin_id for candidate in response.candidates]


def _missing(response: pb.RetrieveResponse) -> set[tuple[str, str]]:
    return {(item.component, item.reason) for item in response.degradations}


def _taste_share(response: pb.RetrieveResponse, taste: int) -> float:
    return sum(int(name[-3:]) % 2 == taste for name in _ids(response)) / len(response.candidates)


async def _released(cg: Running, fitted: Fitted) -> str:
    version = (await cg.release(fitted))["contextual"]

    async def is_swapped() -> bool:
        response = await cg.retrieve(generators=ONLY)
        return response.versions.by_artifact["model:contextual"] == version

    await eventually(is_swapped, within_s=10.0)
    return version


async def test_the_subject_pin_turns_the_answer_to_its_interests(tmp_path: Path, fitted: Fitted) -> None:
    async with running_cg(tmp_path) as cg:
        await _released(cg, fitted)
        shares = []
        for taste in (0, 1):
            subject = pin_id(30 + taste)
            response = await cg.retrieve(generators=ONLY, num_candidates=10, user_id="nobody", subject_pin_id=subject)
            assert subject not in _ids(response)
            shares.append(_taste_share(response, taste))
        assert min(shares) >= 0.9


async def test_without_the_sequence_the_stored_hidden_state_serves_with_a_fresh_context(
    tmp_path: Path, fitted: Fitted
) -> None:
    async with running_cg(tmp_path) as cg:
        version = await _released(cg, fitted)
        cg.indexer.is_sequence_away = True
        for user, taste in (("user-0", 0), ("user-1", 1)):
            hidden_D = fitted.hidden_UD[fitted.user_ids.index(user)]
            cg.indexer.vectors["ann", "contextual"] = StoredVector(version, hidden_D)
            response = await cg.retrieve(generators=ONLY, num_candidates=10)
            assert _taste_share(response, taste) >= 0.9
            assert _missing(response) == {("sequence", "unavailable")}


async def test_a_hidden_state_of_another_encoder_is_refused_counted_and_named(tmp_path: Path, fitted: Fitted) -> None:
    async with running_cg(tmp_path) as cg:
        version = await _released(cg, fitted)
        without = _ids(await cg.retrieve(generators=ONLY))
        for stored in (
            StoredVector("older", fitted.hidden_UD[1]),
            StoredVector(version, np.append(fitted.hidden_UD[1], np.float32(0.5))),
        ):
            cg.indexer.vectors["ann", "contextual"] = stored
            response = await cg.retrieve(generators=ONLY)
            assert ("hidden_state", "version_mismatch") in _missing(response)
            assert _ids(response) == without, "the learned “no history” state stands in"


async def test_an_unknown_subject_degrades_to_no_context_by_name(tmp_path: Path, fitted: Fitted) -> None:
    async with running_cg(tmp_path) as cg:
        await _released(cg, fitted)
        plain = await cg.retrieve(generators=ONLY)
        response = await cg.retrieve(generators=ONLY, subject_pin_id="nobody")
        assert ("subject", "no_interests") in _missing(response)
        assert _ids(response) == _ids(plain)


def test_what_serving_encodes_is_what_training_published(tmp_path: Path, fitted: Fitted) -> None:
    torch.set_num_threads(1)
    store = BundleStore(str(tmp_path))
    release = write_bundle(store, "contextual", fitted.files_by_name["contextual"], {}, "test")
    generator = read_contextual(store.open(release), release.version)
    index = PinIndex()
    for number in range(NUM_PINS):
        index.upsert(pin(number))
    snapshot = index.snapshot()
    history = training_data().histories[4]
    events = tuple(HistoryEvent(name, "save", NOW_MS) for name in history.pin_ids)
    hidden_D = generator.encode_history(events, snapshot)
    published_D = fitted.hidden_UD[fitted.user_ids.index(history.user_id)]
    np.testing.assert_allclose(hidden_D, published_D, atol=2e-5)
    everything = snapshot.allowed(PinFilter())
    stored = {"contextual": StoredVector(release.version, published_D)}
    by_history = generator.generate(RetrievalQuery(snapshot, everything, NOW_MS, events, {}, pin_id(7)), 10)
    by_state = generator.generate(RetrievalQuery(snapshot, everything, NOW_MS, (), stored, pin_id(7)), 10)
    np.testing.assert_allclose(by_history.score_K, by_state.score_K, atol=2e-5)
