"""Baselines against slow, obvious references; measures against numbers computed by hand."""

import math

import numpy as np
import numpy.typing as npt
import pytest

from corkboard.evaluation.baselines import EASE_RIDGE, RECENCY_DECAY, Histories, rank_all
from corkboard.evaluation.measures import difference, interval, ndcg_at, per_user

HISTORIES = Histories({"a": [0, 1, 2], "b": [0, 1, 3], "c": [4, 3], "d": [1, 2, 4], "e": [0]}, num_items=6)


def by_score(scores: dict[int, float], seen: list[int]) -> list[int]:
    """Unseen items, best first, equal scores in order of the item; then the seen ones."""
    unseen = [item for item in scores if item not in seen]
    return sorted(unseen, key=lambda item: (-scores[item], item)) + sorted(seen)


def slow_cosine(one: int, other: int) -> float:
    fans, others = ({user for user, items in HISTORIES.items_of.items() if item in items} for item in (one, other))
    if one == other or not fans or not others:
        return 0.0
    return len(fans & others) / math.sqrt(len(fans) * len(others))


def slow_knn(user: str, decay: float) -> dict[int, float]:
    items = HISTORIES.items_of[user]
    weights = {item: decay**steps for steps, item in enumerate(reversed(items))}
    return {
        item: sum(weight * slow_cosine(seen, item) for seen, weight in weights.items())
        for item in range(HISTORIES.num_items)
    }


def slow_ease_column(target: int) -> npt.NDArray[np.float64]:
    """Ridge regression of one item on all others: what each column of EASE's closed form is."""
    _, matrix_UI = HISTORIES.matrix()
    others = [item for item in range(HISTORIES.num_items) if item != target]
    inputs = matrix_UI[:, others]
    weights = np.linalg.solve(inputs.T @ inputs + EASE_RIDGE * np.eye(len(others)), inputs.T @ matrix_UI[:, target])
    column = np.zeros(HISTORIES.num_items)
    column[others] = weights
    return column


def slow_ease(user: str, decay: float) -> dict[int, float]:
    items = HISTORIES.items_of[user]
    history = np.zeros(HISTORIES.num_items)
    for steps, item in enumerate(reversed(items)):
        history[item] = decay**steps
    return {item: round(float(history @ slow_ease_column(item)), 12) for item in range(HISTORIES.num_items)}


def unseen(ranking: npt.NDArray[np.int64], user: str) -> list[int]:
    """The ranking up to where the seen items begin."""
    return [int(item) for item in ranking[: HISTORIES.num_items - len(HISTORIES.items_of[user])]]


@pytest.mark.parametrize("user", sorted(HISTORIES.items_of))
def test_item_knn_ranks_like_the_obvious_reference(user: str) -> None:
    ranked = rank_all(HISTORIES)
    seen = HISTORIES.items_of[user]
    for name, decay in (("item-kNN", 1.0), ("item-kNN, recency-weighted", RECENCY_DECAY)):
        expected = by_score({item: round(score, 12) for item, score in slow_knn(user, decay).items()}, seen)
        assert unseen(ranked[name][user], user) == expected[: HISTORIES.num_items - len(seen)]


@pytest.mark.parametrize("user", sorted(HISTORIES.items_of))
def test_ease_ranks_like_one_ridge_regression_per_item(user: str) -> None:
    seen = HISTORIES.items_of[user]
    expected = by_score(slow_ease(user, RECENCY_DECAY), seen)[: HISTORIES.num_items - len(seen)]
    assert unseen(rank_all(HISTORIES)["EASE, recency-weighted"][user], user) == expected


def test_popularity_counts_users_and_leaves_the_seen_out() -> None:
    ranked = rank_all(HISTORIES)["popularity"]
    assert unseen(ranked["c"], "c") == [0, 1, 2, 5]
    assert unseen(ranked["e"], "e") == [1, 2, 3, 4, 5]


def test_every_baseline_ranks_every_item_once_and_the_seen_last() -> None:
    for by_user in rank_all(HISTORIES).values():
        for user, ranking in by_user.items():
            assert sorted(ranking.tolist()) == list(range(HISTORIES.num_items))
            seen = set(HISTORIES.items_of[user])
            assert set(ranking[-len(seen) :].tolist()) == seen


def test_recency_weighs_the_newest_item_one() -> None:
    users, matrix_UI = HISTORIES.matrix(RECENCY_DECAY)
    row = matrix_UI[users.index("b")]
    assert row.tolist() == pytest.approx([RECENCY_DECAY**2, RECENCY_DECAY, 0, 1, 0, 0])


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [("a", 1.0), ("b", 1 / math.log2(3)), ("c", 0.5), ("d", 0.0), ("nowhere", 0.0)],
)
def test_ndcg_of_one_wanted_item(wanted: str, expected: float) -> None:
    assert ndcg_at(["a", "b", "c", "d"], wanted, k=3) == pytest.approx(expected)


def test_measures_go_user_by_user_and_a_missing_ranking_is_a_miss() -> None:
    hits, ndcgs = per_user({"u2": ["x", "y"], "u1": ["y", "x"]}, {"u1": "x", "u2": "x", "u3": "x"}, k=2)
    assert hits == [1.0, 1.0, 0.0]
    assert ndcgs == pytest.approx([1 / math.log2(3), 1.0, 0.0])


def test_an_interval_contains_its_mean_and_narrows_with_more_users() -> None:
    values = np.random.default_rng(3).random(400).tolist()
    few, many = interval(values[:20]), interval(values)
    for found in (few, many):
        assert found.low < found.mean < found.high
    assert many.mean == pytest.approx(float(np.mean(values)))
    assert many.high - many.low < few.high - few.low
    assert interval(values) == many, "the same resamples each time"


def test_an_interval_is_about_as_wide_as_theory_says() -> None:
    values = np.random.default_rng(4).normal(10.0, 2.0, 400).tolist()
    found = interval(values)
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * 2.0 / math.sqrt(400), rel=0.15)


def test_a_difference_is_paired() -> None:
    theirs = np.random.default_rng(5).random(200)
    found = difference((theirs + 0.1).tolist(), theirs.tolist())
    assert found.low == pytest.approx(0.1) == found.high, "what all users share does not widen the interval"
    assert difference([0.0, 0.0], [1.0, 1.0]).mean == -1.0
