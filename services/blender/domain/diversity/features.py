"""Similarity as inner products: rows whose products are the similarity of two pins, from one signal or several.

A sum of positive semi-definite kernels with weights that are not negative is one again, and its rows are the rows of
the parts side by side, each times the root of its weight: so every strategy works on any mix of signals.

Shapes: M pins (candidates, then the tail), D dimensions of a vector, E columns of the rows, L levels of a code.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.blender.domain.relevance import Floats

TINY = 1e-4  # a vector this short has no direction
NO_CODE = -1

Codes = NDArray[np.int64]


@dataclass(frozen=True)
class Rows:
    """Similarity of pins i and j: rows_ME[i] · rows_ME[j], and own_M[i] more with itself, in all 1 or 0 with itself.

    `own_M` stands for columns in which no other pin has anything.
    """

    rows_ME: Floats
    own_M: Floats

    def self_similarity_M(self) -> Floats:
        """1, or 0 for a pin of which nothing is known."""
        length_M: Floats = np.einsum("me,me->m", self.rows_ME, self.rows_ME) + self.own_M
        return length_M

    def scaled(self, factor_M: Floats) -> "Rows":
        """Rows times a factor each."""
        return Rows(self.rows_ME * factor_M[:, None], self.own_M * factor_M**2)

    def take(self, index_N: NDArray[np.intp]) -> "Rows":
        """These pins, in this order."""
        return Rows(self.rows_ME[index_N], self.own_M[index_N])

    def split(self, num_candidates: int) -> tuple["Rows", "Rows"]:
        """The candidates and the tail."""
        head, tail = slice(0, num_candidates), slice(num_candidates, None)
        return Rows(self.rows_ME[head], self.own_M[head]), Rows(self.rows_ME[tail], self.own_M[tail])


def nothing_known(num_pins: int) -> Rows:
    """Pins that are like nothing."""
    return Rows(np.zeros((num_pins, 0)), np.zeros(num_pins))


def of_vectors(vectors_MD: NDArray[np.floating]) -> Rows:
    """Unit rows with a constant 1 appended, over √2, so that inner products are (1 + cos) / 2.

    A row that is zero or not finite becomes zero: it is like nothing, not even itself.
    """
    given_MD = np.asarray(vectors_MD)
    with np.errstate(over="ignore", invalid="ignore"):  # summed in doubles without a copy of all: memory is what costs
        lengths_M = np.sqrt(np.einsum("md,md->m", given_MD, given_MD, dtype=np.float64, casting="unsafe"))
    is_usable_M = np.isfinite(lengths_M) & (lengths_M > TINY)
    if not is_usable_M.all():
        given_MD = np.where(is_usable_M[:, None], given_MD, 0)
        lengths_M = np.where(is_usable_M, lengths_M, 1.0)
    rows_ME = np.empty((given_MD.shape[0], given_MD.shape[1] + 1))
    np.multiply(given_MD, (np.sqrt(0.5) / lengths_M)[:, None], out=rows_ME[:, :-1])
    np.multiply(is_usable_M, np.sqrt(0.5), out=rows_ME[:, -1])
    return Rows(rows_ME, np.zeros(len(rows_ME)))


def of_code_paths(code_ML: Codes, threshold: float = 0.0) -> Rows:
    """Products are max(0, lcp / L − threshold) / (1 − threshold), lcp = levels that two paths share from the first on.

    A path ends at its first `NO_CODE`; one that ends early is scaled to be wholly like itself. With L = 1 this is
    "the same code". One column per prefix that at least two pins share.
    """
    num_pins, num_levels = code_ML.shape
    gain_L = np.diff(np.maximum(0.0, np.arange(num_levels + 1) / max(1, num_levels) - threshold)) / (1.0 - threshold)
    shared_columns: list[Floats] = [np.zeros((num_pins, 0))]
    own_M: Floats = np.zeros(num_pins)
    prefix_M: Codes = np.zeros(num_pins, dtype=np.int64)
    goes_on_M = np.ones(num_pins, dtype=np.bool_)
    for level in range(num_levels):
        goes_on_M = goes_on_M & (code_ML[:, level] != NO_CODE)
        codes, code_M = np.unique(code_ML[:, level], return_inverse=True)
        prefix_M = np.unique(prefix_M * len(codes) + code_M, return_inverse=True)[1]
        found, count = np.unique(prefix_M[goes_on_M], return_counts=True)
        is_in_MP = (prefix_M[:, None] == found[count > 1]) & goes_on_M[:, None]
        shared_columns.append(is_in_MP * np.sqrt(gain_L[level]))
        own_M += gain_L[level] * (goes_on_M & ~is_in_MP.any(axis=1))
    return _unit(Rows(np.hstack(shared_columns), own_M))


def combine(parts: Sequence[Rows], weights: Sequence[float]) -> Rows:
    """The weighted sum of these similarities; a pin that lacks a signal is judged by those it has.

    Raises: ValueError when a weight is negative or none is above 0.
    """
    if min(weights, default=0.0) < 0.0 or sum(weights) <= 0.0:
        raise ValueError(f"weights are {list(weights)}: none may be negative, and one must be above 0")
    if len(parts) == 1:
        return parts[0]
    own_M = np.sum([part.own_M * weight for part, weight in zip(parts, weights, strict=True)], axis=0)
    rows = [part.rows_ME * np.sqrt(weight) for part, weight in zip(parts, weights, strict=True)]
    return _unit(Rows(np.hstack(rows), own_M))


def _unit(rows: Rows) -> Rows:
    length_M = np.sqrt(rows.self_similarity_M())
    return rows.scaled(np.divide(1.0, length_M, out=np.zeros_like(length_M), where=length_M > TINY))
