"""What a strategy of diversity answers. Shape: N candidates, best relevance first."""

from typing import Protocol

import numpy as np

from services.blender.domain.relevance import Floats


class Diversity(Protocol):
    """Answers how new candidates are after what was placed, only for those that are asked for."""

    max_novelty: float
    """No candidate is ever newer: who cannot win even so is never asked for."""

    def novelty(self, start: int, stop: int) -> Floats:
        """Of the candidates from `start` to before `stop`; all before `start` have been asked for before."""
        ...

    def place(self, index: int) -> None:
        """Candidate `index`, which has been asked for, takes the next slot."""
        ...


class NoDiversity:
    """Relevance order: nothing is newer than anything else."""

    max_novelty = 0.0

    def novelty(self, start: int, stop: int) -> Floats:
        """All zero."""
        return np.zeros(stop - start)

    def place(self, index: int) -> None:
        """Nothing to remember."""
