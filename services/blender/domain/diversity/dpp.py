"""A determinantal point process over a sliding window: the greedy pick makes the window's determinant largest.

Chen et al. 2018, "Fast greedy MAP inference for determinantal point process", with a window: the gain of a candidate
is the log of its squared distance to the span of the last placed items, log det(S[W+i]) - log det(S[W]). We differ in
that each slot solves for the window anew instead of removing rows from a factor: with a handful of items in the window
that is a matrix of that size, and no error is carried from slot to slot.
Shapes: P items in the window, C candidates asked for.
"""

import numpy as np

from services.blender.domain.diversity.features import AnyRows, PinRows
from services.blender.domain.diversity.similarity_window import SimilarityWindow
from services.blender.domain.relevance import Floats

EPSILON = 1e-6  # of a squared distance: below it a candidate is a copy, and all copies are alike, by relevance
RIDGE = 1e-9  # on the window's diagonal, so that a window with copies in it can be solved


class WindowedDpp:
    """Log of the squared distance of candidates to the span of the last `window - 1` placed items."""

    max_novelty = 0.0

    def __init__(self, candidates: AnyRows, tail: PinRows, window: int) -> None:
        self._window = SimilarityWindow(candidates, tail, window)
        self._ridge_WW = RIDGE * np.eye(max(0, window - 1))
        self._inverse_PP = self._inverse()

    def novelty(self, start: int, stop: int) -> Floats:
        """In [log ε, 0]: the slate never ends short, copies of what was placed are equal and in order of relevance."""
        distance = self._window.self_similarity_N[start:stop]
        to_window_PC = self._window.to_window(start, stop)
        if len(to_window_PC):
            weighed_PC = self._inverse_PP @ to_window_PC
            weighed_PC *= to_window_PC
            distance = distance - weighed_PC.sum(axis=0)
        distance = np.maximum(distance, EPSILON)
        return np.log(distance, out=distance)

    def place(self, index: int) -> None:
        """Candidate `index` takes the next slot."""
        self._window.place(index)
        self._inverse_PP = self._inverse()

    def _inverse(self) -> Floats:
        """Once per slot, however often candidates are asked for."""
        gram_PP = self._window.gram_PP
        ridged_PP = gram_PP + self._ridge_WW[: len(gram_PP), : len(gram_PP)]
        inverse_PP: Floats = np.linalg.inv(ridged_PP).astype(np.float64, copy=False)
        return inverse_PP
