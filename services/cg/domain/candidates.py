"""Merged candidates by column: an object with a map for each would cost more than finding them.

Shapes: N candidates, G generators.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from modeling.arrays import Doubles, Ints


@dataclass(frozen=True)
class Candidate:
    """One merged candidate; `rank` is its 0-based rank in the generator that ranked it best."""

    pin_id: str
    generator: str
    score: float
    rank: int
    score_by_generator: Mapping[str, float]
    content_group: str = ""


@dataclass(frozen=True, eq=False)
class Candidates:
    """Best first. `score_by_generator_NG` is NaN where a generator did not return the pin; content groups are of each
    pin, or none at all."""

    pin_ids: Sequence[str]
    generators: Sequence[str]
    generator_N: Ints
    score_N: Doubles
    rank_N: Ints
    score_by_generator_NG: Doubles
    content_groups: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.pin_ids)

    def __iter__(self) -> Iterator[Candidate]:
        """One by one; slow."""
        groups = self.content_groups or [""] * len(self)
        for place, pin_id in enumerate(self.pin_ids):
            scores = dict(zip(self.generators, self.score_by_generator_NG[place].tolist(), strict=True))
            yield Candidate(
                pin_id,
                self.generators[int(self.generator_N[place])],
                float(self.score_N[place]),
                int(self.rank_N[place]),
                {name: score for name, score in scores.items() if not np.isnan(score)},
                groups[place],
            )


def no_candidates() -> Candidates:
    """Nothing was found."""
    empty = np.zeros(0, dtype=np.int64)
    return Candidates((), (), empty, np.zeros(0), empty, np.zeros((0, 0)))
