"""How sure a measured mean is: percentile bootstrap over users, and paired differences of two models.

Efron 1979. Users are drawn with replacement; a model's figures of one user stay together. Shapes: U users, S seeds.
"""

from dataclasses import dataclass

import numpy as np

from modeling.arrays import Doubles, Floats

NUM_RESAMPLES = 2_000
LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean with the bounds between which 95 % of resamples fall."""

    mean: float
    low: float
    high: float

    @property
    def is_above_zero(self) -> bool:
        """Whether the whole interval is."""
        return self.low > 0.0


def bootstrap_interval(value_SU: Floats | Doubles, seed: int = 0, num_resamples: int = NUM_RESAMPLES) -> Interval:
    """Of the mean over users and seeds: each resample draws users and, where there are several, seeds.

    One row or a plain vector is one seed. Raises: ValueError without users.
    """
    values = np.atleast_2d(np.asarray(value_SU, dtype=np.float64))
    num_seeds, num_users = values.shape
    if not num_users:
        raise ValueError("an interval needs at least one user")
    random = np.random.default_rng(seed)
    means = np.empty(num_resamples)
    for at in range(num_resamples):
        users = random.integers(num_users, size=num_users)
        seeds = random.integers(num_seeds, size=num_seeds)
        means[at] = values[seeds].mean(axis=0)[users].mean()
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(values.mean()), float(low), float(high))


def paired_difference(ours_SU: Floats | Doubles, theirs_U: Floats | Doubles, seed: int = 0) -> Interval:
    """Of ours minus theirs, user by user: far narrower than two intervals beside each other."""
    difference = np.asarray(ours_SU, dtype=np.float64) - np.asarray(theirs_U, dtype=np.float64)
    return bootstrap_interval(difference, seed)
