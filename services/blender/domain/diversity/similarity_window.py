"""Similarities of candidates to the last placed items, one column per item: what dpp, mmr and spectral ssd read.

Shapes: N candidates, E columns of the similarity rows, W = window - 1 items at most, P items in the window, C asked.
"""

import numpy as np

from services.blender.domain.diversity.features import AnyRows, PinRows
from services.blender.domain.relevance import Floats


class SimilarityWindow:
    """A ring over the window; items leave in the order they came."""

    def __init__(self, candidates: AnyRows, tail: PinRows, window: int) -> None:
        self._candidates = candidates
        self.self_similarity_N = candidates.self_similarity_M()
        size = max(0, window - 1)
        self._column_WN: Floats = np.zeros((size, len(candidates.own_M)))
        self._row_WE: Floats = np.zeros((size, candidates.num_columns))
        self._own_W: Floats = np.zeros(size)
        self._gram_WW: Floats = np.zeros((size, size))
        self._num_placed = 0
        self._num_asked = 0  # columns that are filled
        for row_E, own in zip(tail.rows_ME, tail.own_M, strict=True):
            self._push(row_E, own)

    def to_window(self, start: int, stop: int) -> Floats:
        """Similarity of each item of the window, in no particular order, to these candidates [P, C]."""
        if stop > self._num_asked:
            rows_CE = self._candidates.part(self._num_asked, stop)
            self._column_WN[:, self._num_asked : stop] = self._row_WE @ rows_CE.T
            self._num_asked = stop
        return self._column_WN[: self._size, start:stop]

    @property
    def gram_PP(self) -> Floats:
        """Similarities inside the window, in the same order."""
        return self._gram_WW[: self._size, : self._size]

    def place(self, index: int) -> None:
        """Candidate `index` takes the next slot."""
        self._push(self._candidates.part(index, index + 1)[0], self._candidates.own_M[index])

    @property
    def _size(self) -> int:
        return min(self._num_placed, len(self._own_W))

    def _push(self, row_E: Floats, own: float) -> None:
        if not len(self._own_W):
            return
        slot = self._num_placed % len(self._own_W)
        self._row_WE[slot], self._own_W[slot] = row_E, own
        self._num_placed += 1
        self._column_WN[slot, : self._num_asked] = self._candidates.part(0, self._num_asked) @ row_E
        size = self._size
        products_P = self._row_WE[:size] @ row_E
        products_P[slot] += own
        self._gram_WW[slot, :size] = self._gram_WW[:size, slot] = products_P
