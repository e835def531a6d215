"""SSD*: how much new each candidate would add to the last placed items.

Sliding spectrum decomposition, arXiv 2107.05204. We differ in form: the residuals of all N candidates are never kept;
only the squared length of each candidate along each basis of the window is.

Shapes: N candidates, K tail items, D dimensions of a content vector, E = D + 1 extended dimensions, W = window - 1.
"""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from services.blender.domain.relevance import Floats

TINY = 1e-4  # a residual this short is a duplicate; its direction is known to 1e-12 only, a shorter one would be noise


class Diversity(Protocol):
    """Answers how new each candidate is after what was placed."""

    def novelty_N(self) -> Floats:
        """Of each candidate, in [0, 1]."""
        ...

    def place(self, index: int) -> None:
        """Candidate `index` takes the next slot."""
        ...


class SpectrumWindow:
    """The bases of the last `window - 1` placed items. A candidate without a usable vector gets the mean novelty."""

    def __init__(self, vectors_ND: NDArray[np.floating], window: int) -> None:
        self._vectors_NE, self._is_known_N = extend(vectors_ND)
        self._base_N: Floats = np.einsum("ne,ne->n", self._vectors_NE, self._vectors_NE)
        num_bases = max(0, window - 1)
        self._bases_WE: Floats = np.zeros((num_bases, self._vectors_NE.shape[1]))
        self._ring_WN: Floats = np.zeros((num_bases, len(self._vectors_NE)))
        self._slot = 0
        self._has_unknown = not bool(self._is_known_N.all())

    def novelty_N(self) -> Floats:
        """Length of each candidate's part that is orthogonal to the window."""
        squares_N = self._base_N - self._ring_WN.sum(axis=0)
        squares_N[squares_N < TINY * TINY] = 0.0
        novelty_N: Floats = np.sqrt(squares_N)
        if self._has_unknown:
            known = novelty_N[self._is_known_N]
            novelty_N[~self._is_known_N] = known.mean() if known.size else 0.0
        return novelty_N

    def place(self, index: int) -> None:
        """Candidate `index` takes the next slot."""
        self._push(self._vectors_NE[index])

    def place_tail(self, tail_KD: NDArray[np.floating]) -> None:
        """Items placed before this slate, oldest first."""
        for vector_E in extend(tail_KD)[0]:
            self._push(vector_E)

    def _push(self, vector_E: Floats) -> None:
        if not len(self._bases_WE):
            return
        basis_E = self._basis_of(vector_E)
        self._bases_WE[self._slot] = basis_E
        projections_N = self._vectors_NE @ basis_E
        np.multiply(projections_N, projections_N, out=self._ring_WN[self._slot])
        self._slot = (self._slot + 1) % len(self._bases_WE)

    def _basis_of(self, vector_E: Floats) -> Floats:
        """Unit vector of the part that is orthogonal to the window; zero for a duplicate.

        Projected twice: a window slides for hundreds of slots, and once lost, orthogonality would decay further.
        """
        residual_E = vector_E - (self._bases_WE @ vector_E) @ self._bases_WE
        length = float(np.sqrt(residual_E @ residual_E))
        if length <= TINY:
            return np.zeros_like(residual_E)
        residual_E /= length
        residual_E -= (self._bases_WE @ residual_E) @ self._bases_WE
        basis_E: Floats = residual_E / np.sqrt(residual_E @ residual_E)
        return basis_E


class NoDiversity:
    """Relevance order: nothing is newer than anything else."""

    def __init__(self, num_candidates: int) -> None:
        self._zeros_N: Floats = np.zeros(num_candidates)

    def novelty_N(self) -> Floats:
        """All zero."""
        return self._zeros_N

    def place(self, index: int) -> None:
        """Nothing to remember."""


def extend(vectors_ND: NDArray[np.floating]) -> tuple[Floats, NDArray[np.bool_]]:
    """Unit rows with a constant 1 appended, over √2, so that inner products are (1 + cos) / 2.

    Also which rows are usable: one that is zero or not finite becomes zero.
    """
    rows_ND = np.asarray(vectors_ND, dtype=np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        lengths_N = np.sqrt(np.einsum("nd,nd->n", rows_ND, rows_ND))
    is_known_N: NDArray[np.bool_] = np.isfinite(lengths_N) & (lengths_N > TINY)
    if not is_known_N.all():
        rows_ND = np.where(is_known_N[:, None], rows_ND, 0.0)
        lengths_N = np.where(is_known_N, lengths_N, 1.0)
    extended_NE = np.empty((rows_ND.shape[0], rows_ND.shape[1] + 1))
    np.divide(rows_ND, lengths_N[:, None], out=extended_NE[:, :-1])
    extended_NE[:, -1] = is_known_N
    extended_NE /= np.sqrt(2.0)
    return extended_NE, is_known_N
