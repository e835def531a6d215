"""Both sides' histories are scored as the leaf would; equal histories give equal scores."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from chassis.bundles import BundleStore
from services.ranker.domain.hosted_model import ScoreAsk
from services.ranker.domain.preprocess import build_tensors
from services.ranker.domain.utility import DEFAULT_WEIGHTS, utility
from services.ranker.offline.fit_ranker import FittedRanker
from services.ranker.offline.parity_scores import golden_retrieval, score_sides
from services.ranker.outbound.bundle_model_files import read_ranker
from services.ranker.outbound.grpc_indexer import read_pins
from services.ranker.tests.world import NOW_MS, NUM_PINS, candidates, event, pin_id, vector

NUM_CANDIDATES = 20


def pins() -> pa.Table:
    rows = [
        {"pin_id": pin_id(n), "content_vector": vector(n).tolist(), "created_time_ms": 1, "price_micros": 0}
        | {"is_candidate": n < NUM_CANDIDATES}
        for n in range(NUM_PINS)
    ]
    return pa.Table.from_pylist(rows)


def history(user: str, side: str, numbers: list[int]) -> list[dict[str, object]]:
    events = [event(number, age_s=3_600.0 - place) for place, number in enumerate(numbers)]
    return [
        {"user_id": user, "side": side, "event_id": each.event_id, "event_type": each.event_type}
        | {"pin_id": each.pin_id, "event_time_ms": each.event_time_ms}
        for each in events
    ]


def test_each_side_is_scored_as_the_leaf_scores_its_history(fitted: FittedRanker, tmp_path: Path) -> None:
    store = BundleStore(str(tmp_path))
    folder = store.open(store.write("ranker", "v1", fitted.files))
    model, retrieval = read_ranker(folder, "v1"), golden_retrieval(folder)
    rows = [
        *history("same", "old", [30, 32, 34]),
        *history("same", "new", [30, 32, 34]),
        *history("other", "old", [30, 32, 34]),
        *history("other", "new", [31, 33, 35]),
    ]
    found = score_sides(model, pa.Table.from_pylist(rows), pins(), DEFAULT_WEIGHTS, NOW_MS, retrieval)
    assert found["probability_old"].shape[:2] == found["utility_new"].shape == (2, NUM_CANDIDATES)
    other, same = 0, 1  # users are sorted
    assert np.array_equal(found["probability_old"][same], found["probability_new"][same])
    assert np.abs(found["probability_old"][other] - found["probability_new"][other]).max() > 0.001
    events = [event(number, age_s=3_600.0 - place) for place, number in enumerate([31, 33, 35])]
    features = read_pins(pins().to_batches()[0])
    ranked = [
        replace(each, score_by_generator=retrieval[rank % len(retrieval)])
        for rank, each in enumerate(candidates(range(NUM_CANDIDATES)))
    ]
    answer = model.answer(ScoreAsk(build_tensors(ranked, events, features, NOW_MS)))
    assert np.allclose(found["utility_new"][other], utility(answer.probability_by_head, DEFAULT_WEIGHTS))
