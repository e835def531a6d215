"""Item-to-item models in closed form: ridge regression (EASE) and cosine neighbours, and how a history is scored.

EASE: Steck 2019, "Embarrassingly shallow autoencoders for sparse data". We differ in solving the dual when there are
fewer users than pins, in keeping only the strongest weights per pin, and in weighing a history by recency.
Shapes: U users, P pins, K neighbours kept, L history events.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from modeling.arrays import Floats, Ints

DEFAULT_RIDGE = 200.0
DEFAULT_DECAY = 0.9
DEFAULT_NEIGHBOURS = 200
BLOCK_ROWS = 1_024  # rows of the P × P weight matrix that exist at once


@dataclass(frozen=True)
class Neighbours:
    """For each pin the pins that engagement with it speaks for. Pad entries weigh 0."""

    pin_PK: Ints
    weight_PK: Floats

    @property
    def num_pins(self) -> int:
        return len(self.pin_PK)

    def score(self, history_L: Ints, decay: float = DEFAULT_DECAY) -> Floats:
        """Score of every pin [P] for a history (oldest first, rows of this model; negative rows are unknown pins)."""
        steps_back_L = np.arange(len(history_L) - 1, -1, -1)
        known = history_L >= 0
        rows, weights = history_L[known], decay ** steps_back_L[known]
        contributions = self.weight_PK[rows] * weights[:, None]
        return np.bincount(self.pin_PK[rows].ravel(), weights=contributions.ravel(), minlength=self.num_pins).astype(
            np.float32
        )


def fit_ease(matrix_UP: Floats, ridge: float = DEFAULT_RIDGE, num_neighbours: int = DEFAULT_NEIGHBOURS) -> Neighbours:
    """EASE weights, the `num_neighbours` strongest per pin."""
    num_users, num_pins = matrix_UP.shape
    if num_users < num_pins:
        return _fit_dual(matrix_UP, ridge, num_neighbours)
    gram = matrix_UP.T @ matrix_UP + ridge * np.eye(num_pins, dtype=np.float32)
    inverse = np.linalg.inv(gram.astype(np.float64))
    weights = (-inverse / np.diag(inverse)).astype(np.float32)
    np.fill_diagonal(weights, 0.0)
    return _strongest(lambda lo, hi: weights[lo:hi], num_pins, num_neighbours)


def _fit_dual(matrix_UP: Floats, ridge: float, num_neighbours: int) -> Neighbours:
    """The same weights through the U × U system: (XᵀX + λI)⁻¹ = (I − Xᵀ(λI + XXᵀ)⁻¹X) / λ."""
    num_users, num_pins = matrix_UP.shape
    kernel = matrix_UP @ matrix_UP.T + ridge * np.eye(num_users, dtype=np.float32)
    solved_UP = np.linalg.solve(kernel.astype(np.float64), matrix_UP.astype(np.float64)).astype(np.float32)
    diagonal_P = 1.0 - np.einsum("up,up->p", matrix_UP, solved_UP)

    def block(lo: int, hi: int) -> Floats:
        weights = (matrix_UP[:, lo:hi].T @ solved_UP) / diagonal_P
        weights[np.arange(hi - lo), np.arange(lo, hi)] = 0.0
        return np.asarray(weights, dtype=np.float32)

    return _strongest(block, num_pins, num_neighbours)


def fit_cosine(matrix_UP: Floats, num_neighbours: int = DEFAULT_NEIGHBOURS) -> Neighbours:
    """Item-kNN with cosine similarity: the baseline."""
    norms = np.linalg.norm(matrix_UP, axis=0)
    unit_UP = matrix_UP / np.maximum(norms, 1e-9)

    def block(lo: int, hi: int) -> Floats:
        similarity = unit_UP[:, lo:hi].T @ unit_UP
        similarity[np.arange(hi - lo), np.arange(lo, hi)] = 0.0
        return np.asarray(similarity, dtype=np.float32)

    return _strongest(block, matrix_UP.shape[1], num_neighbours)


def _strongest(block: Callable[[int, int], Floats], num_pins: int, num_neighbours: int) -> Neighbours:
    kept = min(num_neighbours, num_pins)
    pins, weights = [np.zeros((0, kept), np.int64)], [np.zeros((0, kept), np.float32)]
    for lo in range(0, num_pins, BLOCK_ROWS):
        rows = block(lo, min(lo + BLOCK_ROWS, num_pins))
        top = np.argpartition(-np.abs(rows), kept - 1, axis=1)[:, :kept]
        pins.append(top.astype(np.int64))
        weights.append(np.take_along_axis(rows, top, axis=1))
    return Neighbours(np.concatenate(pins), np.concatenate(weights))
