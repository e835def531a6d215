"""Training: no label among its own inputs, served rows are used, a better-than-chance model comes out."""

import json
from pathlib import Path

import numpy as np
import pytest

from chassis.bundles import BundleStore
from modeling.interactions import collect, leave_last_out
from modeling.tests.dataset_files import write_dataset
from services.ranker.domain.features import HEADS, NO_SCORE
from services.ranker.offline.examples import PADDING, RequestSampler
from services.ranker.offline.fit_ranker import FittedRanker
from services.ranker.offline.retrieval_features import cross_fit, returned_only
from services.ranker.offline.served_examples import ServedExamples, ServedReading
from services.ranker.offline.train import main
from services.ranker.outbound.bundle_model_files import read_ranker
from services.ranker.tests.world import NOW_MS, served, training_data


def test_negatives_are_pins_the_user_never_engaged_with() -> None:
    events, _ = leave_last_out(collect(training_data().histories, training_data().pins.pin_ids))
    models, folds = cross_fit(events, 1)
    is_open_E = np.ones(len(events.user_E), dtype=np.bool_)
    requests = RequestSampler(events, models, folds, max_history=10, seed=1).sample(50, is_open_E)
    for row in range(len(requests)):
        pins = requests.pin_RC[row]
        assert requests.label_RCH[row, 0].any()
        assert not requests.label_RCH[row, 1:].any()
        assert pins[0] not in pins[1:]
    assert (requests.pin_RC != PADDING).mean() > 0.5


def test_a_users_scores_come_from_a_model_that_did_not_see_the_user() -> None:
    data = training_data()
    events = collect(data.histories, data.pins.pin_ids)
    changed = collect(
        [*data.histories[:-1], type(data.histories[0])("user-79", ["pin-000"] * 3, ["save"] * 3, [1, 2, 3])],
        data.pins.pin_ids,
    )
    first, folds = cross_fit(events, 1)
    second, same_folds = cross_fit(changed, 1)
    assert (folds == same_folds).all()
    own_fold = int(folds[-1])
    np.testing.assert_array_equal(first[own_fold].neighbours.weight_PK, second[own_fold].neighbours.weight_PK)
    other = (own_fold + 1) % 5
    assert not np.array_equal(first[other].neighbours.weight_PK, second[other].neighbours.weight_PK)


def test_half_of_the_sampled_requests_come_later_than_their_engagement() -> None:
    data = training_data()
    events = collect(data.histories, data.pins.pin_ids)
    sampler = RequestSampler(events, *cross_fit(events, 1), max_history=10, seed=1)
    requests = sampler.sample(200, np.ones(len(events.user_E), dtype=np.bool_))
    is_late_R = ~np.isin(requests.time_ms_R, events.time_ms_E)
    assert 0.4 < is_late_R.mean() < 0.6
    assert requests.time_ms_R.max() < events.time_ms_E.max() + 91 * 24 * 3_600_000
    assert (requests.window.time_ms_BL < requests.time_ms_R[:, None]).all(), "a history never looks ahead"


def test_served_requests_carry_what_happened_to_each_pin_also_when_nothing_did() -> None:
    requests = _served_examples().read(served(5)())
    assert requests is not None
    assert len(requests) == 10
    assert (requests.pin_RC[:, :6] != PADDING).all() and (requests.pin_RC[:, 6:] == PADDING).all()
    assert requests.label_RCH[..., HEADS.index("save")].sum() == 15
    assert requests.label_RCH[..., HEADS.index("hide")].sum() == 15
    assert (requests.label_RCH.sum(axis=(1, 2)) == 0).sum() == 5
    assert (requests.score_RCG[requests.pin_RC == PADDING] == NO_SCORE).all()
    assert (requests.window.is_real.sum(axis=1) <= 1).all() and requests.window.is_real.any()
    assert (requests.window.time_ms_BL < requests.time_ms_R[:, None]).all(), "a history never looks ahead"


def test_what_was_served_outside_of_its_users_time_or_to_a_stranger_is_left_out() -> None:
    served_ms = NOW_MS - 60_000_000
    assert _served_examples(from_ms=served_ms + 1).read(served(5)()) is None
    assert _served_examples(until_ms=served_ms).read(served(5)()) is None
    found = _served_examples(until_ms=served_ms + 1).read(served(200)())
    assert found is not None and set(found.user_R.tolist()) == set(range(80)), "80 users are known"


def _served_examples(from_ms: int = 0, until_ms: int = NOW_MS) -> ServedExamples:
    data = training_data()
    events = collect(data.histories, data.pins.pin_ids)
    from_ms_U, until_ms_U = (np.full(len(events.user_ids), each) for each in (from_ms, until_ms))
    return ServedExamples(events, *cross_fit(events, 1), ServedReading(from_ms_U, until_ms_U, 10, 1_000))


def test_a_generator_returns_no_pin_that_scores_nothing() -> None:
    score_P = np.asarray([0.0, 2.0, -1.0, 1.0, 3.0], dtype=np.float32)
    is_seen_P = np.asarray([False, False, False, False, True])
    assert returned_only(score_P, is_seen_P).tolist() == [NO_SCORE, 2.0, NO_SCORE, 1.0, NO_SCORE]
    assert (returned_only(np.zeros(5, np.float32), is_seen_P) == NO_SCORE).all(), "a history that says nothing"


def test_the_ranker_is_better_than_chance_and_says_so(fitted: FittedRanker) -> None:
    report = json.loads(fitted.files["evaluation.json"])
    assert report["heads"]["save"]["auc"] > 0.6
    assert min(report["leave_last_out"][name]["recall@10"] for name in ("ranker", "ranker_after_30_days")) > 10 / 60
    assert {"model.pt", "module_info.json", "calibration.json", "golden.npz"} <= fitted.files.keys()


def test_the_command_trains_from_files_and_reports_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dataset = write_dataset(tmp_path / "dataset-test", training_data(num_users=20, served=served(10)))
    options = ["--bundles-uri", str(tmp_path / "bundles"), "--max-requests", "100", "--num-epochs", "1", "--json"]
    assert main(["--dataset", str(dataset), *options]) == 0
    report = json.loads(capsys.readouterr().out)
    (release,) = BundleStore(str(tmp_path / "bundles")).list("ranker")
    assert report["versions"] == {"ranker": release.version}
    assert read_ranker(BundleStore(str(tmp_path / "bundles")).open(release), release.version).version == release.version
