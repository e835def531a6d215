"""The comparison of models on a small world, through its command."""

import json
from pathlib import Path

import numpy as np
import pytest

from modeling.tests.dataset_files import write_dataset
from modeling.training_data import TrainingData
from services.cg.offline.comparison import _reciprocal_ranks
from services.cg.offline.evaluate import held_out, main
from services.cg.offline.version_skew import FITS_PER_SEED, skew_report
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


def test_related_requests_are_ranked_with_their_subject_by_every_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--dataset", str(_dataset(tmp_path)), "--num-seeds", "1", "--models", "two_tower", "--json", "--steps"]
    assert main(arguments) == 0
    said = capsys.readouterr()
    related = json.loads(said.out)["related"]
    assert related["num_requests"] > 0
    assert related["models"].keys() >= {"content", "popularity", "ease", "two_tower"}
    content, popularity = (related["models"][name]["recall@100"]["mean"] for name in ("content", "popularity"))
    assert content > popularity, "pins of the subject's topic lie around it"
    steps = [json.loads(line) for line in said.err.splitlines()]
    assert [step["done"] for step in steps] == [1, 2] and steps[-1]["total"] == 2


def test_an_index_of_another_training_is_worth_little_and_of_a_continued_one_more() -> None:
    data = TrainingData("world", tuple(histories()[:80]), pins(), None)
    fitted: list[str] = []
    report = skew_report(held_out(data), [1], fitted=fitted.append, target_steps=20)
    assert len(fitted) == FITS_PER_SEED
    found = {
        regime: {version: row["recall@10"]["mean"] for version, row in rows.items()}
        for regime, rows in report["index_version"].items()
    }
    assert found["trained anew"]["v"] > 2 * found["trained anew"]["v-1"]
    assert found["continued"]["v-1"] > found["trained anew"]["v-1"]
    behind = report["state_behind_events"]
    assert behind["0"] == report["index_version"]["continued"]["v"]
    assert set(behind) == {"0", "1", "5", "10", "20", "50"}
