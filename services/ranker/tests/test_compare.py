"""The comparison on a small world: every model there, differences that add up, and quality as it is known to be."""

import json
from pathlib import Path

import numpy as np
import pytest

from modeling.tests.dataset_files import write_dataset
from services.ranker.offline.compare import main
from services.ranker.offline.head_metrics import ndcg
from services.ranker.tests.world import served, training_data

EXPECTED = Path(__file__).parent / "expected_quality.json"
MODELS = {
    "retrieval_order",
    "ease_recency",
    "ranker",
    "ranker_after_30_days",
    "logistic_regression",
    "deep_fm",
    "sasrec",
}


@pytest.mark.timeout(180)
def test_the_command_compares_all_models_and_finds_the_expected_quality(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = write_dataset(tmp_path / "dataset-test", training_data(num_users=120, served=served(120)))
    options = ["--num-seeds", "1", "--max-requests", "600", "--num-epochs", "3", "--json"]
    assert main(["--dataset", str(dataset), *options]) == 0
    report = json.loads(capsys.readouterr().out)
    means = {name: row["mean"] for name, row in report["ndcg@10"].items()}
    assert means.keys() == MODELS
    for name, row in report["ours_minus"].items():
        assert row["mean"] == pytest.approx(means["ranker"] - means[name])
    for metrics in report["heads"].values():
        assert {"save", "home/save"} <= metrics.keys()
    found = {"ndcg@10": means["ranker"], "save_auc": report["heads"]["ranker"]["save"]["auc"]}
    for name, row in json.loads(EXPECTED.read_text()).items():
        assert found[name] == pytest.approx(row["expected"], abs=row["tolerance"]), name


def test_a_perfect_order_has_ndcg_one_and_ties_count_against_the_label() -> None:
    label_N, request_N = np.asarray([True, False, False, True]), np.asarray([0, 0, 1, 1])
    assert ndcg(np.asarray([2.0, 1.0, 1.0, 2.0], np.float32), label_N, request_N) == pytest.approx(1.0)
    assert ndcg(np.zeros(4, np.float32), label_N, request_N) == pytest.approx(1 / np.log2(3))


def test_without_data_the_command_says_what_to_give(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--movielens", "nowhere.inter"])
    assert "ml-100k.inter" in capsys.readouterr().err
