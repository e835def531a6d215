"""Maximal marginal relevance: a candidate is as new as it differs from the most similar item of the window.

Carbonell and Goldstein 1998; theirs looks at all items placed, ours at the last ones, as a person does.
"""

import numpy as np

from services.blender.domain.diversity.features import AnyRows, PinRows
from services.blender.domain.diversity.similarity_window import SimilarityWindow
from services.blender.domain.relevance import Floats


class MarginalRelevance:
    """1 - the largest similarity to the last `window - 1` placed items."""

    max_novelty = 1.0

    def __init__(self, candidates: AnyRows, tail: PinRows, window: int) -> None:
        self._window = SimilarityWindow(candidates, tail, window)

    def novelty(self, start: int, stop: int) -> Floats:
        """In [0, 1]; 1 while nothing is placed."""
        nearest: Floats = self._window.to_window(start, stop).max(axis=0, initial=0.0)
        return np.subtract(1.0, nearest, out=nearest)

    def place(self, index: int) -> None:
        """Candidate `index` takes the next slot."""
        self._window.place(index)
