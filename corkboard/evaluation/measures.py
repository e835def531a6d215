"""Hit rate and NDCG of one held-out item per user, with paired bootstrap intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

NUM_RESAMPLES = 2_000
SEED = 11


@dataclass(frozen=True)
class Interval:
    """A mean with its 95 % bootstrap interval."""

    mean: float
    low: float
    high: float


def ndcg_at(ranked: Sequence[str], wanted: str, k: int) -> float:
    """1/log2(rank + 2) of the one wanted item when it is among the first k, else 0."""
    top = list(ranked[:k])
    return float(1 / np.log2(top.index(wanted) + 2)) if wanted in top else 0.0


def per_user(ranked: Mapping[str, Sequence[str]], wanted: Mapping[str, str], k: int) -> tuple[list[float], list[float]]:
    """(hits, ndcgs) in the order of sorted users; a user without a ranking counts as a miss."""
    ndcgs = [ndcg_at(ranked.get(user, ()), wanted[user], k) for user in sorted(wanted)]
    return [float(value > 0) for value in ndcgs], ndcgs


def interval(values: Sequence[float]) -> Interval:
    """Mean and 95 % interval over users."""
    sample = np.asarray(values)
    means = sample[_resamples(len(sample))].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return Interval(float(sample.mean()), float(low), float(high))


def difference(ours: Sequence[float], theirs: Sequence[float]) -> Interval:
    """Paired difference per user: positive = ours is better."""
    return interval(list(np.asarray(ours) - np.asarray(theirs)))


def _resamples(num_values: int) -> npt.NDArray[np.int64]:
    return np.random.default_rng(SEED).integers(0, num_values, (NUM_RESAMPLES, num_values))
