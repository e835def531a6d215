"""One normalisation of relevance for every strategy, so that weights mean the same everywhere."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MIN_DEVIATION = 1e-12  # below it all scores count as equal
NEVER_WINS = -1e6  # far under any relevance plus bonus minus penalties: weights are at most 100


def normalise(relevance_N: Floats) -> Floats:
    """Z-score over the finite values; a value that is NaN or infinite becomes `NEVER_WINS`."""
    is_finite_N = np.isfinite(relevance_N)
    finite = relevance_N[is_finite_N]
    if finite.size == 0:
        return np.full(relevance_N.shape, NEVER_WINS)
    scale = max(float(np.max(np.abs(finite))), MIN_DEVIATION)  # squares of huge scores must not overflow
    scaled = finite / scale
    centred = scaled - scaled.mean()
    deviation = float(centred.std())
    normalised_N = np.full(relevance_N.shape, NEVER_WINS)
    normalised_N[is_finite_N] = centred / deviation if deviation > MIN_DEVIATION else 0.0
    return normalised_N


def best_first(relevance_N: Floats) -> NDArray[np.intp]:
    """Indices by falling relevance; equal ones by index; values that are not finite last."""
    return np.argsort(-np.where(np.isfinite(relevance_N), relevance_N, -np.inf), kind="stable")
