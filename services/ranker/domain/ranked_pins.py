"""The answer of a ranking by column. Shapes: P pins, H heads."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import overload

import numpy as np

from modeling.arrays import Doubles, Ints


@dataclass(frozen=True)
class RankedPin:
    """One pin with its utility and the probabilities it came from."""

    pin_id: str
    score: float
    score_by_head: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class RankedPins(Sequence[RankedPin]):
    """Unique, best first. `score_by_head_PH` is NaN where a pin was not scored; `row_P` are rows of the request."""

    pin_ids: Sequence[str]
    score_P: Doubles
    heads: Sequence[str]
    score_by_head_PH: Doubles
    row_P: Ints

    def __len__(self) -> int:
        return len(self.pin_ids)

    @overload
    def __getitem__(self, place: int) -> RankedPin: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[RankedPin]: ...
    def __getitem__(self, place: int | slice) -> RankedPin | Sequence[RankedPin]:
        if isinstance(place, slice):
            return [self[each] for each in range(*place.indices(len(self)))]
        scores = zip(self.heads, self.score_by_head_PH[place].tolist(), strict=True)
        heads = {head: score for head, score in scores if not np.isnan(score)}
        return RankedPin(self.pin_ids[place], float(self.score_P[place]), heads)


def no_pins() -> RankedPins:
    """Nothing was asked."""
    return RankedPins((), np.zeros(0), (), np.zeros((0, 0)), np.zeros(0, dtype=np.int64))
