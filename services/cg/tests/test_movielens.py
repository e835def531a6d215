"""Known numbers on MovieLens-100K; skipped where CORKBOARD_MOVIELENS does not name ml-100k.inter."""

import os
from collections import defaultdict
from pathlib import Path

import pytest

from modeling.interactions import History, collect, leave_last_out
from modeling.item_to_item import fit_ease
from services.cg.offline.evaluate import evaluate, evaluate_baselines, history_scorer

PATH = Path(os.environ.get("CORKBOARD_MOVIELENS", ""))


def histories(path: Path) -> list[History]:
    """One history per user; ratings of the same second are ordered by item id."""
    rows: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for line in path.read_text().splitlines()[1:]:
        user, item, _, time_s = line.split("\t")
        rows[int(user)].append((int(float(time_s)), int(item)))
    return [
        History(
            f"ml-user-{user}",
            [f"ml-pin-{item}" for _, item in sorted(events)],
            ["rating"] * len(events),
            [time_s * 1_000 for time_s, _ in sorted(events)],
        )
        for user, events in sorted(rows.items())
    ]


@pytest.mark.skipif(not PATH.is_file(), reason="CORKBOARD_MOVIELENS names no file")
def test_recency_weighted_ease_is_far_ahead_of_popularity_and_neighbours() -> None:
    train, labels = leave_last_out(collect(histories(PATH), []))
    baselines = evaluate_baselines(train, labels)
    ease = evaluate(train, labels, history_scorer(train, fit_ease(train.matrix())))
    assert baselines["popularity"]["ndcg@10"] == pytest.approx(0.026, abs=0.004)
    assert baselines["item_knn"]["ndcg@10"] == pytest.approx(0.029, abs=0.004)
    assert ease["ndcg@10"] == pytest.approx(0.075, abs=0.008)
