"""Leave-last-out: hide each user's last event, rank every pin the user has not seen, look where it landed.

Shapes: U users, P pins.
"""

from collections.abc import Callable

import numpy as np

from modeling.arrays import Floats, Ints
from modeling.evaluation import rank_of_label, summarise_ranks
from modeling.interactions import Interactions
from modeling.item_to_item import Neighbours, fit_cosine
from modeling.popularity import decayed_counts

ScoreUser = Callable[[int], Floats]  # user number -> score of every pin [P]
Metrics = dict[str, float]


def evaluate(train: Interactions, label_U: Ints, score_user: ScoreUser) -> Metrics:
    """Metrics over the users that have a label."""
    return summarise_ranks(ranks_of(train, label_U, score_user))


def ranks_of(train: Interactions, label_U: Ints, score_user: ScoreUser) -> Ints:
    """0-based rank of each label, for the users that have one, in their order; pins of their past are not ranked."""
    starts, ranks = train.starts, []
    for user in np.flatnonzero(label_U >= 0):
        is_unseen_P = np.ones(train.num_pins, dtype=np.bool_)
        is_unseen_P[train.pin_E[starts[user] : starts[user + 1]]] = False
        is_unseen_P[label_U[user]] = True
        ranks.append(rank_of_label(score_user(int(user)), int(label_U[user]), is_unseen_P))
    return np.asarray(ranks, dtype=np.int64)


def evaluate_baselines(train: Interactions, label_U: Ints) -> dict[str, Metrics]:
    """What every generator has to beat: popularity and item-kNN."""
    counts_P = np.bincount(train.pin_E, minlength=train.num_pins).astype(np.float32)
    cosine = fit_cosine(train.matrix())
    return {
        "popularity": evaluate(train, label_U, lambda _: counts_P),
        "item_knn": evaluate(train, label_U, history_scorer(train, cosine, decay=1.0)),
        "item_knn_recency": evaluate(train, label_U, history_scorer(train, cosine)),
    }


def history_scorer(train: Interactions, neighbours: Neighbours, decay: float = 0.9) -> ScoreUser:
    """Scores of an item-to-item model for a user's whole history."""
    starts = train.starts
    return lambda user: neighbours.score(train.pin_E[starts[user] : starts[user + 1]], decay)


def popularity_scorer(train: Interactions) -> ScoreUser:
    """Decayed popularity, as generator `popular` serves it."""
    counts_P = decayed_counts(train.pin_E, train.time_ms_E, train.num_pins)
    return lambda _: counts_P
