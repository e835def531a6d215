"""SSD in spectral form: candidates pay for what the window has already shown much of.

Pinterest, 2026-04-07: U_i = f(r_i) - β Σ_k w_k (S_iW u_k)², over the K largest eigenpairs (λ_k, u_k) of the window's
similarity, with w_k = E_k / (ε + λ_k) and E_k the exposure of that direction over the window. Candidates enter by the
plain projection S_iW u_k; divided by λ_k (the Nyström reading) all directions would count alike, which does not
diversify. We fix what is left open: E_k = mean over the window of (S_jW u_k)² = λ_k² / P, and the sum is divided by P,
so that a window of P copies costs their next copy 1.
Shapes: P items in the window, K eigenpairs, C candidates asked for.
"""

import numpy as np

from services.blender.domain.diversity.features import AnyRows, PinRows
from services.blender.domain.diversity.similarity_window import SimilarityWindow
from services.blender.domain.relevance import Floats

EPSILON = 1e-9
NUM_EIGENPAIRS = 4


class SpectralWindow:
    """1 - the weighted exposure of each candidate's directions in the last `window - 1` placed items."""

    max_novelty = 1.0

    def __init__(self, candidates: AnyRows, tail: PinRows, window: int, num_eigenpairs: int = NUM_EIGENPAIRS) -> None:
        self._window = SimilarityWindow(candidates, tail, window)
        self._num_eigenpairs = num_eigenpairs

    def novelty(self, start: int, stop: int) -> Floats:
        """In [0, 1]; 1 while nothing is placed."""
        to_window_PC, gram_PP = self._window.to_window(start, stop), self._window.gram_PP
        num_placed = len(gram_PP)
        if not num_placed:
            return np.ones(stop - start)
        value_P, vector_PP = np.linalg.eigh(gram_PP)  # smallest first
        value_K, vector_PK = value_P[-self._num_eigenpairs :], vector_PP[:, -self._num_eigenpairs :]
        weight_K = value_K**2 / num_placed / (EPSILON + np.abs(value_K))
        projection_KC = vector_PK.T @ to_window_PC
        cost: Floats = (weight_K / num_placed) @ np.square(projection_KC)
        return np.subtract(1.0, cost, out=cost)

    def place(self, index: int) -> None:
        """Candidate `index` takes the next slot."""
        self._window.place(index)
