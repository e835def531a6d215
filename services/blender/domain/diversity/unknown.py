"""Candidates of which nothing is known. Shape: N candidates."""

from services.blender.domain.diversity.port import Diversity
from services.blender.domain.relevance import Floats

MEMORY = 0.75  # weight of what was before in the moving mean over the picks


class WithUnknown:
    """Takes a candidate without any signal for as new as the last picks were: it neither gains nor loses by that."""

    def __init__(self, known: Diversity, self_similarity_N: Floats) -> None:
        self._known = known
        self._is_unknown_N = self_similarity_N <= 0.0
        self._has_unknown = bool(self._is_unknown_N.any())
        self.max_novelty = self._novelty = known.max_novelty

    def novelty(self, start: int, stop: int) -> Floats:
        """Of the candidates from `start` to before `stop`."""
        novelty = self._known.novelty(start, stop)
        if self._has_unknown:
            novelty[self._is_unknown_N[start:stop]] = self._novelty
        return novelty

    def place(self, index: int) -> None:
        """Candidate `index` takes the next slot."""
        if self._has_unknown and not self._is_unknown_N[index]:
            [novelty] = self._known.novelty(index, index + 1)
            self._novelty = MEMORY * self._novelty + (1.0 - MEMORY) * float(novelty)
        self._known.place(index)
