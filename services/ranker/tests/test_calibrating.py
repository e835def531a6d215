"""Probabilities per surface: what a fit is worth on requests it did not see, and which one serves a request."""

import json
from pathlib import Path

import numpy as np
import pytest

from chassis.bundles import BundleStore
from modeling.calibration import Platt, pick
from modeling.tests.dataset_files import write_dataset
from services.ranker.domain.features import HEADS, SURFACE_ROW
from services.ranker.offline.calibrate import main as calibrate_main
from services.ranker.offline.calibrating import Examples, calibrate
from services.ranker.offline.train import main as train_main
from services.ranker.outbound.bundle_model_files import read_ranker
from services.ranker.tests.world import served, training_data

TRUTH = {"home": Platt(0.6, -2.0), "search": Platt(1.5, 0.5)}


def _examples(num_examples: int = 40_000) -> Examples:
    """Clicks whose true probability is another function of the logit on each surface; nothing else ever happens."""
    random = np.random.default_rng(5)
    logit_NH = random.normal(size=(num_examples, len(HEADS))).astype(np.float32)
    label_NH = np.zeros((num_examples, len(HEADS)), dtype=np.bool_)
    surface_N = np.where(np.arange(num_examples) % 4 < 2, SURFACE_ROW["home"], SURFACE_ROW["search"])
    click = HEADS.index("click")
    for name, platt in TRUTH.items():
        rows = surface_N == SURFACE_ROW[name]
        label_NH[rows, click] = random.random(rows.sum()) < platt(logit_NH[rows, click])
    return Examples(logit_NH, label_NH, surface_N, np.arange(num_examples) // 20)


def test_each_surface_gets_its_own_scale_and_bias() -> None:
    found = calibrate(_examples())
    for name, platt in TRUTH.items():
        fitted = found.platt[f"{name}/click"]
        assert (fitted.scale, fitted.bias) == pytest.approx((platt.scale, platt.bias), abs=0.1)
        errors = found.errors[f"{name}/click"]
        assert errors["error_after"] <= 0.3 * errors["error_before"]
        assert errors["error_after"] < 3 * errors["error_honest"], "what is left is chance"
    assert "related/click" not in found.platt, "nothing was seen there"
    assert found.platt["save"] == Platt(), "without a label nothing is learnt"


def test_labels_without_any_relation_do_not_come_out_as_calibrated_by_luck() -> None:
    """The error after is of other requests: a fit that only remembers its own would look better than it is."""
    examples = _examples(400)
    label_NH = np.random.default_rng(1).random(examples.label_NH.shape) < 0.5
    found = calibrate(Examples(examples.logit_NH, label_NH, examples.surface_N, examples.request_N))
    assert found.errors["click"]["error_after"] > 0.01


def test_the_calibration_of_the_surface_serves_then_that_of_all_then_none() -> None:
    platt = {"home/click": Platt(2.0), "click": Platt(3.0)}
    assert [pick(platt, surface, head) for surface, head in (("home", "click"), ("", "click"), ("home", "save"))] == [
        Platt(2.0),
        Platt(3.0),
        Platt(),
    ]


def test_calibrating_a_released_ranker_changes_its_calibration_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = write_dataset(tmp_path / "dataset-test", training_data(num_users=20, served=served(20)))
    store, picture = BundleStore(str(tmp_path / "bundles")), tmp_path / "reliability.png"
    options = ["--dataset", str(dataset), "--bundles-uri", str(tmp_path / "bundles"), "--max-requests", "100", "--json"]
    assert train_main([*options, "--num-epochs", "1"]) == 0
    (before,) = store.list("ranker")
    capsys.readouterr()
    assert calibrate_main([*options, "--picture", str(picture), "--seed", "3"]) == 0
    report = json.loads(capsys.readouterr().out)
    after = next(release for release in store.list("ranker") if release.version == report["versions"]["ranker"])
    assert report["calibrated"] == before.version and report["of_served"]
    old, new = store.open(before), store.open(after)
    assert (old / "model.pt").read_bytes() == (new / "model.pt").read_bytes()
    document = json.loads((new / "calibration.json").read_bytes())
    assert sum(row["num_examples"] for row in document["save"]["reliability"]) == document["save"]["num_examples"]
    assert read_ranker(new, after.version).calibration.keys() == document.keys()
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_without_a_ranker_the_command_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert calibrate_main(["--dataset", str(tmp_path), "--bundles-uri", str(tmp_path / "bundles")]) == 1
    assert "train one first" in capsys.readouterr().err
