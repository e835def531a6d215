"""SSD*: how much new each candidate would add to the last placed items.

Sliding spectrum decomposition, arXiv 2107.05204. We differ in form: the residuals of all N candidates are never kept;
only the squared length of each candidate along each basis of the window is.

Shapes: N candidates, E columns of the similarity rows, W = window - 1.
"""

import math

import numpy as np

from services.blender.domain.diversity.features import TINY, AnyRows, PinRows
from services.blender.domain.relevance import Floats

ENOUGH_LEFT = 0.5  # of a row's square of 1
# A residual shorter than TINY is a duplicate; its direction is known to 1e-12 only, a shorter one would be noise.


class SpectrumWindow:
    """The bases of the last `window - 1` placed items, and how far candidates reach along them."""

    max_novelty = 1.0

    def __init__(self, candidates: AnyRows, tail: PinRows, window: int) -> None:
        self._candidates = candidates
        self._base_N = candidates.self_similarity_M()
        num_bases = max(0, window - 1)
        self._bases_WE: Floats = np.zeros((num_bases, candidates.num_columns))
        self._squares_WN: Floats = np.zeros((num_bases, len(self._base_N)))
        self._num_asked = 0  # columns of the squares that are filled
        self._ones_W: Floats = np.ones(num_bases)
        self._slot = 0
        for row_E, own in zip(tail.rows_ME, tail.own_M, strict=True):
            self._push(row_E, own)

    def novelty(self, start: int, stop: int) -> Floats:
        """Length of each candidate's part that is orthogonal to the window, in [0, 1]."""
        if stop > self._num_asked:
            rows_PE = self._candidates.part(self._num_asked, stop)
            self._squares_WN[:, self._num_asked : stop] = np.square(self._bases_WE @ rows_PE.T)
            self._num_asked = stop
        squares: Floats = self._base_N[start:stop] - self._ones_W @ self._squares_WN[:, start:stop]
        squares *= squares >= TINY * TINY
        return np.sqrt(squares, out=squares)

    def place(self, index: int) -> None:
        """Candidate `index` takes the next slot."""
        self._push(self._candidates.part(index, index + 1)[0], self._candidates.own_M[index])

    def _push(self, row_E: Floats, own: float) -> None:
        if not len(self._bases_WE):
            return
        basis_E = self._basis_of(row_E, own)
        self._bases_WE[self._slot] = basis_E
        reach = self._candidates.part(0, self._num_asked) @ basis_E
        np.multiply(reach, reach, out=self._squares_WN[self._slot, : self._num_asked])
        self._slot = (self._slot + 1) % len(self._bases_WE)

    def _basis_of(self, row_E: Floats, own: float) -> Floats:
        """Shared columns of the unit vector of the part that is orthogonal to the window; zero for a duplicate.

        Projected a second time when little is left: a window slides for hundreds of slots, and once lost,
        orthogonality would decay further (Kahan and Parlett's "twice is enough").
        """
        residual_E = row_E - (self._bases_WE @ row_E) @ self._bases_WE
        square = float(residual_E @ residual_E)
        if square < ENOUGH_LEFT:
            residual_E -= (self._bases_WE @ residual_E) @ self._bases_WE
            square = float(residual_E @ residual_E)
        length = math.sqrt(square + own)
        if length <= TINY:
            return np.zeros_like(residual_E)
        basis_E: Floats = residual_E / length
        return basis_E
