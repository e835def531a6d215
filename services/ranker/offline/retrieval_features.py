"""Retrieval scores as the ranker will see them in serving, computed so that no label is among its own inputs.

Users are dealt into folds; the scores of a fold's users come from a model fitted on the other folds.
Shapes: U users, P pins, R requests.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from modeling.arrays import Bools, Floats, Ints
from modeling.interactions import Interactions
from modeling.item_to_item import Neighbours, fit_ease
from modeling.popularity import decayed_counts, popularity_score
from services.ranker.domain.features import NO_SCORE

NUM_FOLDS = 5
NUM_RETURNED = 300  # candidates a generator returns; beyond that its score is missing


@dataclass(frozen=True)
class RetrievalModel:
    """What `co_engaged` and `popular` serve with."""

    neighbours: Neighbours
    popularity_P: Floats

    def scores(self, history_L: Ints, is_seen_P: Bools) -> dict[str, Floats]:
        """Per generator the score of each pin [P]; `NO_SCORE` where the generator would not return it."""
        return {
            "co_engaged": returned_only(self.neighbours.score(history_L), is_seen_P),
            "popular": returned_only(self.popularity_P, is_seen_P),
        }


def fit_retrieval(interactions: Interactions, user_mask_U: Bools | None = None) -> RetrievalModel:
    """Both models on the events of the masked users (default: all)."""
    if user_mask_U is not None:
        interactions = interactions.keep(user_mask_U[interactions.user_E])
    counts_P = decayed_counts(interactions.pin_E, interactions.time_ms_E, interactions.num_pins)
    return RetrievalModel(fit_ease(interactions.matrix()), popularity_score(counts_P))


def cross_fit(
    interactions: Interactions, seed: int, num_folds: int = NUM_FOLDS
) -> tuple[Sequence[RetrievalModel], Ints]:
    """One model per fold, and the fold of each user [U]; a fold's model has not seen that fold's users."""
    num_users = len(interactions.user_ids)
    fold_U = np.random.default_rng(seed).integers(0, num_folds, num_users)
    return [fit_retrieval(interactions, fold_U != fold) for fold in range(num_folds)], fold_U


def returned_only(score_P: Floats, is_seen_P: Bools, num_returned: int = NUM_RETURNED) -> Floats:
    """The scores of the best `num_returned` pins that were not seen; the rest are `NO_SCORE`, and so is what scores
    nothing: a generator does not return it."""
    open_P = np.where(is_seen_P | (score_P <= 0), NO_SCORE, score_P)
    if len(open_P) > num_returned:
        threshold = np.partition(open_P, len(open_P) - num_returned)[len(open_P) - num_returned]
        open_P = np.where(open_P < threshold, NO_SCORE, open_P)
    return np.asarray(open_P, dtype=np.float32)
