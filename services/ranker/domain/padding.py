"""Requests of different lengths as one batch, so that each is answered as it would be alone.

Shapes: B requests, L history events (oldest first), C candidates.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from modeling.arrays import AnyArray
from services.ranker.domain.features import FEATURES, HISTORY


def stack(requests: Sequence[Mapping[str, AnyArray]]) -> dict[str, AnyArray]:
    """Prepared tensors of requests with the same inputs, with a leading request axis.

    Histories are filled up at their old end with type 0, which no candidate attends to and which moves no position;
    candidates at their end, whose scores nobody reads.
    """
    return {name: _stacked(name, [request[name] for request in requests]) for name in requests[0]}


def _stacked(name: str, values: Sequence[AnyArray]) -> AnyArray:
    length = max(len(value) for value in values)
    stacked = np.zeros((len(values), length, *values[0].shape[1:]), dtype=values[0].dtype)
    for row, value in enumerate(values):
        if FEATURES[name].axis == HISTORY:
            stacked[row, length - len(value) :] = value
        else:
            stacked[row, : len(value)] = value
    return stacked
