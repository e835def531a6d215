"""The comparison of models on a small world, through its command."""

import json
from pathlib import Path

import numpy as np
import pytest

from modeling.tests.dataset_files import write_dataset
from modeling.training_data import TrainingData
from services.cg.offline.comparison import _reciprocal_ranks
from services.cg.offline.evaluate import main
from services.cg.tests.contextual_world import histories, pins

pytestmark = pytest.mark.timeout(180)


def _dataset(folder: Path) -> Path:
    return write_dataset(folder / "dataset-world", TrainingData("world", tuple(histories()[:24]), pins(), None))


def test_the_command_reports_every_model_with_intervals_and_paired_differences(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--dataset", str(_dataset(tmp_path)), "--num-seeds", "1", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    learnt = {"two_tower", "sasrec", "contextual", "all generators"}
    assert report["models"].keys() >= learnt | {"popularity", "item_knn", "ease", "ease_recency"}
    for name in learnt:
        found = report["models"][name]["recall@100"]
        assert 0.0 < found["low"] <= found["mean"] <= found["high"] <= 1.0
    difference = report["contextual_minus"]["ease_recency"]["recall@10"]["mean"]
    means = [report["models"][name]["recall@10"]["mean"] for name in ("contextual", "ease_recency")]
    assert difference == pytest.approx(means[0] - means[1])


def test_without_data_the_command_says_what_to_give(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--movielens", "nowhere.inter"])
    assert "CORKBOARD_MOVIELENS" in capsys.readouterr().err


def test_reciprocal_ranks_are_added_up_by_weight_and_skip_what_was_seen() -> None:
    first, second = np.asarray([0.9, 0.8, 0.7], np.float32), np.asarray([0.1, 0.2, 0.3], np.float32)
    gain = _reciprocal_ranks([(1.0, first), (0.5, second)], np.asarray([0]))
    assert gain[1] == pytest.approx(1 / 60 + 0.5 / 61)
    assert gain[2] == pytest.approx(1 / 61 + 0.5 / 60)
    assert gain[0] == pytest.approx(1.0 / 62 + 0.5 / 62), "minus infinity comes last"
