"""How much a click is worth by how long it held the person: w(t) = min(1, log(1 + t / t_max) / log 2).

Pinterest 2026-04-27, shopping conversions. Shapes: N clicks.
"""

import numpy as np

from modeling.arrays import Floats


def click_weights(duration_s_N: Floats, full_s: float, floor: float = 0.0) -> Floats:
    """Weights in [floor, 1]; a click of `full_s` or longer weighs 1. NaN is a missing duration: the median's weight.

    Without any duration every click weighs 1. Raises: ValueError for a negative duration or `full_s` not above 0.
    """
    if full_s <= 0 or (duration_s_N < 0).any():
        raise ValueError(
            f"full_s is {full_s} and the shortest click {np.nanmin(duration_s_N)} s: both must be positive"
        )
    is_known_N = np.isfinite(duration_s_N)
    if not is_known_N.any():
        return np.ones(len(duration_s_N), dtype=np.float32)
    filled_N = np.where(is_known_N, duration_s_N, np.median(duration_s_N[is_known_N]))
    weight_N = np.minimum(1.0, np.log1p(filled_N / full_s) / np.log(2.0))
    return np.asarray(np.maximum(weight_N, floor), dtype=np.float32)
