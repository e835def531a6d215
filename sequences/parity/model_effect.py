"""What a frozen ranker makes of the difference between two sides' histories.

Shapes: R requests (one per sampled user), C candidates, H heads.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chassis.errors import Invalid

TOP = 10
Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class SideScores:
    """Of one side: calibrated probability per head [R, C, H] and the utility that orders candidates [R, C]."""

    probability_RCH: Doubles
    utility_RC: Doubles


@dataclass(frozen=True)
class ModelEffect:
    """Per request: mean over candidates of the largest change of a probability, and the share of the top ten kept."""

    score_delta_R: Doubles
    top_overlap_R: Doubles


def model_effect(left: SideScores, right: SideScores) -> ModelEffect:
    """Both sides' scores of the same candidates. Raises: Invalid for other shapes or numbers that are not finite."""
    for name in ("probability_RCH", "utility_RC"):
        one, other = getattr(left, name), getattr(right, name)
        if one.shape != other.shape:
            raise Invalid(f"{name} has shape {one.shape} on one side and {other.shape} on the other", field=name)
        if not (np.isfinite(one).all() and np.isfinite(other).all()):
            raise Invalid(f"the ranker gave a {name} that is not finite", field=name, reason="not_finite")
    delta_R = np.abs(left.probability_RCH - right.probability_RCH).max(axis=2).mean(axis=1)
    tops = [_is_top(side.utility_RC) for side in (left, right)]
    return ModelEffect(delta_R, (tops[0] & tops[1]).sum(axis=1) / np.maximum(tops[0].sum(axis=1), 1))


def _is_top(utility_RC: Doubles) -> NDArray[np.bool_]:
    """[R, C] True for the best TOP candidates; of equal utilities the first."""
    order = np.argsort(-utility_RC, axis=1, kind="stable")[:, :TOP]
    is_top = np.zeros(utility_RC.shape, np.bool_)
    np.put_along_axis(is_top, order, True, axis=1)
    return is_top
