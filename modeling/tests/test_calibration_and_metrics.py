"""Platt scaling repairs a known distortion; metrics agree with hand-made cases."""

from pathlib import Path

import numpy as np
import pytest

from chassis.errors import Corrupt
from modeling import calibration
from modeling.calibration import Platt, fit_platt
from modeling.evaluation import auc, calibration_error, honest_error, rank_of_label, summarise_ranks


def test_platt_finds_scale_and_bias_of_distorted_logits() -> None:
    random = np.random.default_rng(5)
    logits = random.normal(size=20_000).astype(np.float32)
    labels = random.random(20_000) < 1 / (1 + np.exp(-(0.5 * logits - 1.5)))
    platt = fit_platt(logits, labels)
    assert abs(platt.scale - 0.5) < 0.06
    assert abs(platt.bias + 1.5) < 0.06
    assert calibration_error(labels, platt(logits)) < 0.02 < calibration_error(labels, Platt()(logits))


def test_platt_without_labels_is_the_identity() -> None:
    assert fit_platt(np.ones(5, np.float32), np.zeros(5, bool)) == Platt()


def test_calibration_file_is_read_back_and_refused_with_nan(tmp_path: Path) -> None:
    (tmp_path / calibration.FILE_NAME).write_bytes(calibration.to_json({"click": Platt(2.0, -1.0)}))
    assert calibration.read(tmp_path) == {"click": Platt(2.0, -1.0)}
    (tmp_path / calibration.FILE_NAME).write_text('{"click": {"scale": NaN, "bias": 0}}')
    with pytest.raises(Corrupt):
        calibration.read(tmp_path)


def test_auc_counts_ties_as_half() -> None:
    labels = np.asarray([True, False, True, False])
    assert auc(labels, np.asarray([3.0, 1.0, 2.0, 2.0], np.float32)) == pytest.approx(0.875)


def test_a_constant_score_ranks_the_label_last() -> None:
    assert rank_of_label(np.zeros(5, np.float32), 2, np.ones(5, bool)) == 4


def test_ranks_are_summarised_with_missing_labels_as_misses() -> None:
    metrics = summarise_ranks(np.asarray([0, 20, -1]))
    assert metrics["recall@10"] == pytest.approx(1 / 3)
    assert metrics["recall@100"] == pytest.approx(2 / 3)
    assert metrics["ndcg@10"] == pytest.approx(1 / 3)


def test_right_probabilities_show_an_error_that_falls_with_more_examples() -> None:
    probability_N = np.linspace(0.1, 0.5, 40_000).astype(np.float32)
    of_few, of_many = honest_error(probability_N[::100]), honest_error(probability_N)
    assert of_many < 0.01 < of_few
    label_N = np.random.default_rng(3).random(len(probability_N)) < probability_N
    assert calibration_error(label_N, probability_N) < 2 * of_many
