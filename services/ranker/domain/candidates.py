"""The candidates of a ranking by column: hundreds of objects with a map each would cost more than scoring them.

Shapes: C candidates, G generators.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import overload

import numpy as np

from modeling.arrays import Doubles, Ints


@dataclass(frozen=True)
class RankCandidate:
    """A pin to rank, with what retrieval said of it. `retrieval_rank` is 0-based in the merged order."""

    pin_id: str
    retrieval_score: float
    retrieval_rank: int
    score_by_generator: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Candidates(Sequence[RankCandidate]):
    """`score_by_generator_CG` is NaN where a generator did not return the pin; `row_C` are rows of the request."""

    pin_ids: Sequence[str]
    score_C: Doubles
    rank_C: Ints
    generators: Sequence[str]
    score_by_generator_CG: Doubles
    row_C: Ints

    @classmethod
    def of(cls, candidates: Sequence[RankCandidate]) -> "Candidates":
        """The columns of these."""
        if isinstance(candidates, Candidates):
            return candidates
        generators = list(dict.fromkeys(name for each in candidates for name in each.score_by_generator))
        scores = [[each.score_by_generator.get(name, np.nan) for name in generators] for each in candidates]
        return cls(
            [each.pin_id for each in candidates],
            np.array([each.retrieval_score for each in candidates], dtype=np.float64),
            np.array([each.retrieval_rank for each in candidates], dtype=np.int64),
            generators,
            np.array(scores, dtype=np.float64).reshape(len(candidates), len(generators)),
            np.arange(len(candidates)),
        )

    def __len__(self) -> int:
        return len(self.pin_ids)

    @overload
    def __getitem__(self, place: int) -> RankCandidate: ...
    @overload
    def __getitem__(self, place: slice) -> "Candidates": ...
    def __getitem__(self, place: int | slice) -> "RankCandidate | Candidates":
        if isinstance(place, slice):
            return self.take(range(*place.indices(len(self))))
        scores = zip(self.generators, self.score_by_generator_CG[place].tolist(), strict=True)
        returned = {name: score for name, score in scores if not np.isnan(score)}
        return RankCandidate(self.pin_ids[place], float(self.score_C[place]), int(self.rank_C[place]), returned)

    def take(self, rows: Iterable[int]) -> "Candidates":
        """These, in this order."""
        wanted = list(rows)
        return Candidates(
            [self.pin_ids[row] for row in wanted],
            self.score_C[wanted],
            self.rank_C[wanted],
            self.generators,
            self.score_by_generator_CG[wanted],
            self.row_C[wanted],
        )

    def unique(self) -> "Candidates":
        """One per pin, the one that retrieval ranked best, in retrieval order."""
        order = np.argsort(self.rank_C, kind="stable").tolist()
        first: dict[str, int] = {}
        for row in order:
            first.setdefault(self.pin_ids[row], row)
        rows = list(first.values())
        return self if rows == list(range(len(self))) else self.take(rows)
