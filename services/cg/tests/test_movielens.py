"""Known numbers on MovieLens-100K; skipped where CORKBOARD_MOVIELENS does not name ml-100k.inter."""

import json
import os
from pathlib import Path

import pytest

from modeling.item_to_item import fit_ease
from services.cg.offline.evaluate import held_out, main, movielens
from services.cg.offline.ranking import evaluate, evaluate_baselines, history_scorer

PATH = Path(os.environ.get("CORKBOARD_MOVIELENS", ""))
NEEDS_DATA = pytest.mark.skipif(not PATH.is_file(), reason="CORKBOARD_MOVIELENS names no file")


@NEEDS_DATA
def test_recency_weighted_ease_is_far_ahead_of_popularity_and_neighbours() -> None:
    question = held_out(movielens(PATH))
    train, labels = question.train, question.label_U
    baselines = evaluate_baselines(train, labels)
    ease = evaluate(train, labels, history_scorer(train, fit_ease(train.matrix())))
    assert baselines["popularity"]["ndcg@10"] == pytest.approx(0.026, abs=0.004)
    assert baselines["item_knn"]["ndcg@10"] == pytest.approx(0.029, abs=0.004)
    assert ease["ndcg@10"] == pytest.approx(0.075, abs=0.008)


@NEEDS_DATA
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_contextual_tower_meets_ease_at_a_hundred(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--movielens", str(PATH), "--models", "contextual", "--num-seeds", "1", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    recall = {name: row["recall@100"]["mean"] for name, row in report["models"].items()}
    assert recall["contextual"] >= recall["item_knn_recency"] > recall["popularity"]
    assert recall["contextual"] >= 0.95 * recall["ease_recency"]
