"""Probabilities per action into one number, and the order that follows.

Shapes: C candidates, H heads.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from modeling.arrays import Bools, Doubles, Floats
from services.ranker.domain.candidates import Candidates, RankCandidate
from services.ranker.domain.ranked_pins import RankedPins

DEFAULT_WEIGHTS: Mapping[str, float] = {
    "click": 1.0,
    "save": 2.0,
    "long_view": 1.0,
    "share": 2.0,
    "conversion": 4.0,
    "hide": -6.0,
}


def utility(probability_by_head: Mapping[str, Floats], weights: Mapping[str, float]) -> Doubles:
    """Weighted sum over the heads that have a weight [C]; NaN where any of them is not finite."""
    heads = probability_by_head.keys() & weights.keys()
    columns = [(weights[head], probability_by_head[head].astype(np.float64)) for head in sorted(heads)]
    is_bad_C = np.any([~np.isfinite(column_C) for _, column_C in columns], axis=0) if columns else np.zeros(0, np.bool_)
    total_C = np.sum([weight * np.nan_to_num(column_C) for weight, column_C in columns], axis=0) if columns else []
    return np.where(is_bad_C, np.nan, total_C)


def order_by_utility(
    candidates: Sequence[RankCandidate], utility_C: Doubles, probability_by_head: Mapping[str, Floats]
) -> RankedPins:
    """Best first; equal and missing utilities in retrieval order, missing ones last, every score finite."""
    is_missing_C = ~np.isfinite(utility_C)
    score_C = fill_missing(utility_C, is_missing_C)
    order = np.argsort(-score_C, kind="stable")
    columns = Candidates.of(candidates)
    return RankedPins(
        [columns.pin_ids[row] for row in order.tolist()],
        score_C[order],
        tuple(probability_by_head),
        _probability_CH(probability_by_head, len(columns))[order],
        columns.row_C[order],
    )


def fill_missing(utility_C: Doubles, is_missing_C: Bools) -> Doubles:
    """Missing utilities below every other one, falling in retrieval order."""
    floor = float(utility_C[~is_missing_C].min()) if (~is_missing_C).any() else 0.0
    step = max(1.0, abs(floor) * 1e-6)  # large enough to be told apart from the floor in double precision
    return np.where(is_missing_C, floor - step * np.arange(1, len(utility_C) + 1), utility_C)


def retrieval_order(candidates: Sequence[RankCandidate]) -> RankedPins:
    """What is served without a model: scores fall from 1 with the retrieval rank."""
    columns = Candidates.of(candidates)
    score_C: Doubles = 1.0 / np.arange(1, len(columns) + 1, dtype=np.float64)
    return RankedPins(columns.pin_ids, score_C, (), np.zeros((len(columns), 0)), columns.row_C)


def _probability_CH(probability_by_head: Mapping[str, Floats], num_rows: int) -> Doubles:
    """The finite probabilities; NaN else, and for candidates behind those that were scored."""
    probability_CH = np.full((num_rows, len(probability_by_head)), np.nan)
    for number, column in enumerate(probability_by_head.values()):
        probability_CH[: len(column), number] = np.where(np.isfinite(column), column, np.nan)
    return probability_CH
