"""How varied a page is. Shapes: T items, D dimensions of a content vector."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SPAN = 10  # items that a person sees at once


@dataclass(frozen=True)
class Variety:
    """Means over all spans of ten items of one page; a shorter page is one span."""

    ilad_at_10: float
    """Intra-list average distance, 1 - cosine over all pairs of items with a vector, in [0, 2]; 0 without pairs."""
    topics_at_10: float
    """Distinct topics."""
    longest_run: int
    """Of items with the same topic; an item without a topic ends a run."""


def variety(vectors_TD: NDArray[np.floating], topics: Sequence[str]) -> Variety:
    """Of one page, in order."""
    spans = [slice(start, start + SPAN) for start in range(max(1, len(topics) - SPAN + 1))]
    return Variety(
        float(np.mean([_mean_distance(vectors_TD[span]) for span in spans])),
        float(np.mean([len(set(topics[span]) - {""}) for span in spans])),
        longest_run(topics),
    )


def longest_run(keys: Sequence[str]) -> int:
    """Most equal keys in a row; an empty key is equal to nothing."""
    longest = run = 0
    before = ""
    for key in keys:
        run = run + 1 if key and key == before else bool(key)
        longest, before = max(longest, run), key
    return int(longest)


def relevance_kept(picked: Sequence[float], pool: Sequence[float]) -> float:
    """Sum of the picked scores over that of the best ones, each above the pool's worst; 1 when all are equal."""
    worst = min(pool, default=0.0)
    best = sorted(pool, reverse=True)[: len(picked)]
    most = sum(score - worst for score in best)
    return sum(score - worst for score in picked) / most if most > 0.0 else 1.0


def _mean_distance(vectors_TD: NDArray[np.floating]) -> float:
    length_T = np.linalg.norm(vectors_TD, axis=1)
    known_TD = vectors_TD[length_T > 0.0] / length_T[length_T > 0.0, None]
    num = len(known_TD)
    if num < 2:
        return 0.0
    total = float((known_TD @ known_TD.T).sum()) - num
    return 1.0 - total / (num * (num - 1))
