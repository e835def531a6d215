"""Does the tower use its context, and does it still know the person without one?

Each held-out pin is looked for as on a related surface: the subject is another pin with the same first interest, which
the user has not met. Shapes: U users with a label and a subject.
"""

from dataclasses import dataclass

import numpy as np

from modeling.arrays import Floats, Ints
from modeling.evaluation import hits
from modeling.history_window import windows_at_end
from modeling.interactions import Interactions
from services.cg.domain.two_tower_features import PinFeatures
from services.cg.offline.contextual_training import ContextualTrainer
from services.cg.offline.ranking import ranks_of


@dataclass(frozen=True)
class RelatedRequests:
    """A subject pin for each user; -1 where the label has no interest, or nothing else shares it."""

    user_U: Ints
    label_U: Ints
    subject_U: Ints


@dataclass(frozen=True)
class ContextRecall:
    """Recall@k of the same requests with their own subjects, with each other's, and with none."""

    true: float
    shuffled: float
    removed: float


def related_requests(train: Interactions, label_U: Ints, pins: PinFeatures, seed: int) -> RelatedRequests:
    """The same requests for the same seed."""
    random = np.random.default_rng(seed)
    first_P = pins.topic_PT[:, 0]
    pins_of = {int(topic): np.flatnonzero(first_P == topic) for topic in np.unique(first_P) if topic > 0}
    rows: list[tuple[int, int, int]] = []
    for user in np.flatnonzero(label_U >= 0):
        label = int(label_U[user])
        met = train.pin_E[train.starts[user] : train.starts[user + 1]]
        sharing = pins_of.get(int(first_P[label]), np.zeros(0, np.int64))
        subjects = np.setdiff1d(sharing, np.append(met, label))
        if len(subjects):
            rows.append((int(user), label, int(random.choice(subjects))))
    table = np.asarray(rows, dtype=np.int64).reshape(-1, 3)
    return RelatedRequests(*(np.ascontiguousarray(column) for column in table.T))


def recall_by_context(
    trainer: ContextualTrainer, train: Interactions, requests: RelatedRequests, k: int, seed: int
) -> ContextRecall:
    """Shuffling moves every subject to another request."""
    moved = np.random.default_rng(seed).permutation(len(requests.subject_U))
    shuffled_U = np.empty_like(requests.subject_U)
    shuffled_U[moved] = requests.subject_U[np.roll(moved, 1)]
    found = [_recall(trainer, train, requests, s, k) for s in (requests.subject_U, shuffled_U, None)]
    return ContextRecall(*found)


def _recall(
    trainer: ContextualTrainer, train: Interactions, requests: RelatedRequests, subject_U: Ints | None, k: int
) -> float:
    return float(hits(ranks_with(trainer, train, requests, subject_U), k).mean())


def ranks_with(
    trainer: ContextualTrainer, train: Interactions, requests: RelatedRequests, subject_U: Ints | None
) -> Ints:
    """Rank of each request's label [U] with these subjects; the subject itself is not ranked."""
    hidden = trainer.hidden(windows_at_end(train, trainer.model.settings.max_history))
    scores_UP: Floats = trainer.user_vectors(hidden[requests.user_U], subject_U) @ trainer.item_vectors().T
    if subject_U is not None:
        scores_UP[np.arange(len(subject_U)), subject_U] = -np.inf
    row_of = {int(user): row for row, user in enumerate(requests.user_U)}
    label_by_user = np.full(len(train.user_ids), -1, dtype=np.int64)
    label_by_user[requests.user_U] = requests.label_U
    return ranks_of(train, label_by_user, lambda user: scores_UP[row_of[user]])
