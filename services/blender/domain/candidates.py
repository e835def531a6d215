"""The candidates of one feed by column: three hundred objects with two maps each would cost more than all stages.

Shapes: N candidates, G generators, H heads.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from services.blender.domain.candidate import Candidate

Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Candidates(Sequence[Candidate]):
    """A sequence of candidates; one that is taken out of it by its place is made then.

    `sources` are all generators, with NaN in `score_by_source_NG` where one did not return the pin; a head that a pin
    lacks is NaN in `score_by_head_NH`.
    """

    pin_ids: Sequence[str]
    generators: Sequence[str]  # of each pin, the one that ranked it best
    content_groups: Sequence[str]
    retrieval_score_N: Doubles
    retrieval_rank_N: Ints
    sources: Sequence[str]
    score_by_source_NG: Doubles
    score_N: Doubles
    rank_by_score_N: Ints
    heads: Sequence[str]
    score_by_head_NH: Doubles

    @classmethod
    def of(cls, candidates: Iterable[Candidate]) -> "Candidates":
        """The columns of these."""
        if isinstance(candidates, Candidates):
            return candidates
        rows = list(candidates)
        sources = sorted({name for each in rows for name in each.score_by_generator})
        heads = sorted({head for each in rows for head in each.score_by_head})
        return cls(
            [each.pin_id for each in rows],
            [each.generator for each in rows],
            [each.content_group for each in rows],
            np.array([each.retrieval_score for each in rows], dtype=np.float64),
            np.array([each.retrieval_rank for each in rows], dtype=np.int64),
            sources,
            _table([[each.score_by_generator.get(name, math.nan) for name in sources] for each in rows], len(sources)),
            np.array([each.score for each in rows], dtype=np.float64),
            np.array([each.rank_by_score for each in rows], dtype=np.int64),
            heads,
            _table([[each.score_by_head.get(head, math.nan) for head in heads] for each in rows], len(heads)),
        )

    def __len__(self) -> int:
        return len(self.pin_ids)

    @overload
    def __getitem__(self, place: int) -> Candidate: ...
    @overload
    def __getitem__(self, place: slice) -> "Candidates": ...
    def __getitem__(self, place: int | slice) -> "Candidate | Candidates":
        if isinstance(place, slice):
            return self.take(range(*place.indices(len(self))))
        return Candidate(
            self.pin_ids[place],
            self.generators[place],
            float(self.retrieval_score_N[place]),
            int(self.retrieval_rank_N[place]),
            named(self.sources, self.score_by_source_NG[place].tolist()),
            self.content_groups[place],
            float(self.score_N[place]),
            named(self.heads, self.score_by_head_NH[place].tolist()),
            int(self.rank_by_score_N[place]),
        )

    def __iter__(self) -> Iterator[Candidate]:
        return (self[place] for place in range(len(self)))

    def take(self, rows: Sequence[int] | NDArray[Any]) -> "Candidates":
        """These, in this order."""
        wanted = rows.tolist() if isinstance(rows, np.ndarray) else list(rows)
        return Candidates(
            [self.pin_ids[row] for row in wanted],
            [self.generators[row] for row in wanted],
            [self.content_groups[row] for row in wanted],
            self.retrieval_score_N[wanted],
            self.retrieval_rank_N[wanted],
            self.sources,
            self.score_by_source_NG[wanted],
            self.score_N[wanted],
            self.rank_by_score_N[wanted],
            self.heads,
            self.score_by_head_NH[wanted],
        )

    def unique(self) -> "Candidates":
        """The first of each pin."""
        first: dict[str, int] = {}
        for row, pin_id in enumerate(self.pin_ids):
            first.setdefault(pin_id, row)
        return self if len(first) == len(self) else self.take(list(first.values()))

    def followed_by(self, others: "Candidates") -> "Candidates":
        """These and then those, without what their sources said."""
        if not len(others):
            return self
        heads = list(dict.fromkeys([*self.heads, *others.heads]))
        return Candidates(
            [*self.pin_ids, *others.pin_ids],
            [*self.generators, *others.generators],
            [*self.content_groups, *others.content_groups],
            np.concatenate([self.retrieval_score_N, others.retrieval_score_N]),
            np.concatenate([self.retrieval_rank_N, others.retrieval_rank_N]),
            (),
            np.zeros((len(self) + len(others), 0)),
            np.concatenate([self.score_N, others.score_N]),
            np.concatenate([self.rank_by_score_N, others.rank_by_score_N]),
            heads,
            np.concatenate([self._by_head(heads), others._by_head(heads)]),  # noqa: SLF001
        )

    def _by_head(self, heads: Sequence[str]) -> Doubles:
        found = np.full((len(self), len(heads)), math.nan)
        for number, head in enumerate(self.heads):
            found[:, heads.index(head)] = self.score_by_head_NH[:, number]
        return found

    def ranked(
        self, score_N: Doubles, heads: Sequence[str], score_by_head_NH: Doubles, first_place: int
    ) -> "Candidates":
        """With the ranker's verdict, in this order, from this place of the session on."""
        rank_by_score_N = np.arange(first_place, first_place + len(self))
        return replace(
            self, score_N=score_N, heads=heads, score_by_head_NH=score_by_head_NH, rank_by_score_N=rank_by_score_N
        )


def named(names: Sequence[str], values: Sequence[float]) -> dict[str, float]:
    """The values that are there, by name."""
    return {name: value for name, value in zip(names, values, strict=True) if not math.isnan(value)}


def no_candidates() -> Candidates:
    """None."""
    return Candidates.of([])


def _table(rows: Sequence[Sequence[float]], width: int) -> Doubles:
    return np.array(rows, dtype=np.float64).reshape(len(rows), width)
