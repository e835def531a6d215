"""Similarity as inner products: rows whose products are the similarity of two pins, from one signal or several.

A sum of positive semi-definite kernels with weights that are not negative is one again, and its rows are the rows of
the parts side by side, each times the root of its weight: so every strategy works on any mix of signals.

Shapes: M pins (candidates, then the tail), D dimensions of a vector, E columns of the rows, L levels of a code.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

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

    def part(self, start: int, stop: int) -> Floats:
        """Rows from `start` to before `stop`."""
        return self.rows_ME[start:stop]

    @property
    def num_columns(self) -> int:
        """E."""
        return int(self.rows_ME.shape[1])

    def write(self, index_P: NDArray[np.intp], out_PE: Floats) -> None:
        """Rows of these pins."""
        out_PE[:] = self.rows_ME[index_P]

    def split(self, num_candidates: int) -> tuple["Rows", "Rows"]:
        """The candidates and the tail."""
        head, tail = slice(0, num_candidates), slice(num_candidates, None)
        return Rows(self.rows_ME[head], self.own_M[head]), Rows(self.rows_ME[tail], self.own_M[tail])


@dataclass(frozen=True)
class VectorRows:
    """Rows that are vectors times a factor each and a constant behind; made only where they are read."""

    vectors_MD: NDArray[np.floating]
    factor_M: Floats
    constant_M: Floats

    @cached_property
    def rows_ME(self) -> Floats:
        """All of them."""
        rows_ME: Floats = np.empty((len(self.factor_M), self.num_columns))
        self.write(np.arange(len(rows_ME)), rows_ME)
        return rows_ME

    @property
    def own_M(self) -> Floats:
        """Nothing."""
        return np.zeros(len(self.factor_M))

    @property
    def num_columns(self) -> int:
        """E."""
        return int(self.vectors_MD.shape[1]) + 1

    def self_similarity_M(self) -> Floats:
        """1, or 0 for a pin of which nothing is known."""
        return 2.0 * self.constant_M**2

    def scaled(self, factor_M: Floats) -> Rows:
        """Rows times a factor each."""
        return Rows(self.rows_ME, self.own_M).scaled(factor_M)

    def part(self, start: int, stop: int) -> Floats:
        """Rows from `start` to before `stop`."""
        return self.rows_ME[start:stop]

    def write(self, index_P: NDArray[np.intp], out_PE: Floats) -> None:
        """Rows of these pins."""
        np.multiply(self.vectors_MD[index_P], self.factor_M[index_P, None], out=out_PE[:, :-1])
        out_PE[:, -1] = self.constant_M[index_P]

    def split(self, num_candidates: int) -> tuple["VectorRows", "VectorRows"]:
        """The candidates and the tail."""
        parts = [(each[:num_candidates], each[num_candidates:]) for each in (self.factor_M, self.constant_M)]
        heads, tails = zip(*parts, strict=True)
        vectors_MD = self.vectors_MD
        return VectorRows(vectors_MD[:num_candidates], *heads), VectorRows(vectors_MD[num_candidates:], *tails)


PinRows = Rows | VectorRows


class OrderedRows:
    """Rows in another order, gathered only as far as they are asked for: most candidates never are, and filling memory
    costs more than reading it."""

    def __init__(self, rows: PinRows, index_N: NDArray[np.intp]) -> None:
        self._rows, self._index_N = rows, index_N
        self._rows_NE: Floats = np.empty((len(index_N), rows.num_columns))
        self._num_gathered = 0
        self.own_M = rows.own_M[index_N]

    def part(self, start: int, stop: int) -> Floats:
        """Rows from `start` to before `stop`."""
        if stop > self._num_gathered:
            new = slice(self._num_gathered, stop)
            self._rows.write(self._index_N[new], self._rows_NE[new])
            self._num_gathered = stop
        return self._rows_NE[start:stop]

    @property
    def num_columns(self) -> int:
        """E."""
        return self._rows.num_columns

    def self_similarity_M(self) -> Floats:
        """As of the rows."""
        return self._rows.self_similarity_M()[self._index_N]


AnyRows = PinRows | OrderedRows


def nothing_known(num_pins: int) -> Rows:
    """Pins that are like nothing."""
    return Rows(np.zeros((num_pins, 0)), np.zeros(num_pins))


def of_vectors(vectors_MD: NDArray[np.floating]) -> VectorRows:
    """Unit rows with a constant 1 appended, over √2, so that inner products are (1 + cos) / 2.

    A row that is zero or not finite becomes zero: it is like nothing, not even itself.
    """
    given_MD = np.asarray(vectors_MD)
    with np.errstate(over="ignore", invalid="ignore"):
        doubles_MD = given_MD.astype(np.float64, copy=False)
        lengths_M = np.sqrt(np.einsum("md,md->m", doubles_MD, doubles_MD))
    is_usable_M = np.isfinite(lengths_M) & (lengths_M > TINY)
    if not is_usable_M.all():
        given_MD = np.where(is_usable_M[:, None], given_MD, 0)
        lengths_M = np.where(is_usable_M, lengths_M, 1.0)
    return VectorRows(given_MD, is_usable_M * np.sqrt(0.5) / lengths_M, is_usable_M * np.sqrt(0.5))


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


def combine(parts: Sequence[PinRows], weights: Sequence[float]) -> PinRows:
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
