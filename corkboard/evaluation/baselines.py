"""The peers that a feed must beat on MovieLens: popularity, item-kNN and EASE, each over all unseen items."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

EASE_RIDGE = 200.0
RECENCY_DECAY = 0.9  # weight of an item one step further back in the history

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Histories:
    """items_of[user] = item indices, oldest first; `num_items` columns in all."""

    items_of: Mapping[str, list[int]]
    num_items: int

    def matrix(self, decay: float = 1.0) -> tuple[list[str], Floats]:
        """Users in order, and their weighted histories: weight decay^(steps back)."""
        users = sorted(self.items_of)
        matrix = np.zeros((len(users), self.num_items))
        for row, user in enumerate(users):
            items = self.items_of[user]
            matrix[row, items] = decay ** np.arange(len(items) - 1, -1, -1)
        return users, matrix


def rank_all(histories: Histories) -> dict[str, dict[str, npt.NDArray[np.int64]]]:
    """baseline -> user -> item indices, best first, without items already seen."""
    users, plain_UI = histories.matrix()
    _, recent_UI = histories.matrix(RECENCY_DECAY)
    seen_UI = plain_UI > 0
    knn_II, ease_II = _cosine(plain_UI), _ease(plain_UI)
    scores: dict[str, Callable[[], Floats]] = {
        "popularity": lambda: np.broadcast_to(plain_UI.sum(0), plain_UI.shape),
        "item-kNN": lambda: plain_UI @ knn_II,
        "item-kNN, recency-weighted": lambda: recent_UI @ knn_II,
        "EASE, recency-weighted": lambda: recent_UI @ ease_II,
    }
    return {name: _ranked(users, score(), seen_UI) for name, score in scores.items()}


def _ranked(users: list[str], scores_UI: Floats, seen_UI: npt.NDArray[np.bool_]) -> dict[str, npt.NDArray[np.int64]]:
    order = np.argsort(np.where(seen_UI, np.inf, -scores_UI), axis=1, kind="stable")
    return {user: order[row] for row, user in enumerate(users)}


def _cosine(matrix_UI: Floats) -> Floats:
    norms = np.linalg.norm(matrix_UI, axis=0)
    unit = matrix_UI / np.maximum(norms, 1e-12)
    similarity = unit.T @ unit
    np.fill_diagonal(similarity, 0.0)
    return np.asarray(similarity)


def _ease(matrix_UI: Floats) -> Floats:
    """Embarrassingly shallow autoencoder (Steck 2019, arXiv 1905.03375)."""
    precision = np.linalg.inv(matrix_UI.T @ matrix_UI + EASE_RIDGE * np.eye(matrix_UI.shape[1]))
    weights = -precision / np.diag(precision)
    np.fill_diagonal(weights, 0.0)
    return np.asarray(weights)
