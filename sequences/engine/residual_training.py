"""Finds the centroids of a residual quantiser: k-means on the vectors, then on what each level leaves."""

import numpy as np
from numpy.typing import NDArray

from sequences.engine.residual_quantiser import LIMIT, STEPS, ResidualQuantiser, nearest

MAX_ROUNDS = 50  # Lloyd's rounds; fewer when no vector changes its centroid


def train_codebooks(vectors: NDArray[np.float32], num_levels: int, num_codes: int, seed: int) -> ResidualQuantiser:
    """Centroids for vectors like these [N, D]; the same vectors and seed give the same centroids.

    Raises: ValueError when there are fewer vectors than codes, or values that are not finite or beyond ±LIMIT.
    """
    if len(vectors) < num_codes:
        raise ValueError(f"{num_codes} codes need as many vectors; there are {len(vectors)}")
    if not np.isfinite(vectors).all() or np.abs(vectors).max() > LIMIT:
        raise ValueError(f"values must be finite and within ±{LIMIT}")
    random = np.random.default_rng(seed)
    left = np.rint(vectors.astype(np.float64) * STEPS)
    levels = []
    for _ in range(num_levels):
        centroids = np.rint(_k_means(left, num_codes, random))
        levels.append(centroids)
        left = left - centroids[nearest(left, centroids)]
    return ResidualQuantiser(np.stack(levels).astype(np.int16))


def _k_means(vectors: NDArray[np.float64], num_codes: int, random: np.random.Generator) -> NDArray[np.float64]:
    """Lloyd's algorithm from k-means++ (Arthur and Vassilvitskii 2007). A centroid left by all moves to the vector
    that is farthest from its own."""
    centroids = _spread(vectors, num_codes, random)
    chosen = np.full(len(vectors), -1)
    for _ in range(MAX_ROUNDS):
        before, chosen = chosen, nearest(vectors, centroids)
        if np.array_equal(before, chosen):
            break
        counts = np.bincount(chosen, minlength=num_codes)
        sums = np.zeros_like(centroids)
        np.add.at(sums, chosen, vectors)
        filled = counts > 0
        centroids[filled] = sums[filled] / counts[filled, None]
        far = np.argsort(np.square(vectors - centroids[chosen]).sum(axis=1))[::-1]
        empty = np.flatnonzero(~filled)
        centroids[empty] = vectors[far[: len(empty)]]
    return centroids


def _spread(vectors: NDArray[np.float64], num_codes: int, random: np.random.Generator) -> NDArray[np.float64]:
    """Starting centroids, each drawn by the square of its distance to those before."""
    centroids = vectors[[int(random.integers(len(vectors)))]]
    distances = np.square(vectors - centroids[0]).sum(axis=1)
    for _ in range(1, num_codes):
        total = distances.sum()
        weights = distances / total if total > 0 else None
        drawn = vectors[int(random.choice(len(vectors), p=weights))]
        centroids = np.vstack([centroids, drawn])
        distances = np.minimum(distances, np.square(vectors - drawn).sum(axis=1))
    return centroids
