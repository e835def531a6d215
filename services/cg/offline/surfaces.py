"""The same held-out pins as asked for on a surface with a subject: another pin of the label's first topic.

Shapes: R requests, P pins.
"""

from collections.abc import Callable

import numpy as np

from modeling.arrays import Floats, Ints
from modeling.evaluation import rank_of_label
from modeling.interactions import Interactions
from modeling.item_to_item import Neighbours
from services.cg.domain.two_tower_features import PinFeatures
from services.cg.offline.context_guards import RelatedRequests

ScoreRelated = Callable[[int, int], Floats]  # user number, subject pin -> score of every pin [P]


def related_ranks(train: Interactions, requests: RelatedRequests, score: ScoreRelated) -> Ints:
    """0-based rank of each request's label [R] among the pins its user has not met, without the subject."""
    ranks = []
    for user, label, subject in zip(requests.user_U, requests.label_U, requests.subject_U, strict=True):
        is_unseen_P = np.ones(train.num_pins, dtype=np.bool_)
        is_unseen_P[train.pin_E[train.starts[user] : train.starts[user + 1]]] = False
        is_unseen_P[subject], is_unseen_P[label] = False, True
        ranks.append(rank_of_label(score(int(user), int(subject)), int(label), is_unseen_P))
    return np.asarray(ranks, dtype=np.int64)


def subject_scorer(train: Interactions, neighbours: Neighbours, decay: float) -> ScoreRelated:
    """An item-to-item model takes the subject for the newest event, as generator `co_engaged` does."""
    starts = train.starts
    return lambda user, subject: neighbours.score(
        np.append(train.pin_E[starts[user] : starts[user + 1]], subject), decay
    )


def content_scorer(pins: PinFeatures) -> ScoreRelated:
    """Cosine of content vectors with the subject's, as generator `related` serves it."""
    norms = np.linalg.norm(pins.content_PC, axis=1, keepdims=True)
    unit_PC = pins.content_PC / np.maximum(norms, 1e-9)
    return lambda _, subject: np.asarray(unit_PC @ unit_PC[subject])
