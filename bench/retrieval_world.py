"""Unit vectors in clusters, as towers make them, and searches over them for the retrieval benches.

Shapes: N rows, V width, Q queries.
"""

import numpy as np

from modeling.arrays import Bools, Floats

WIDTH = 64
NUM_CLUSTERS = 1_000
SPREAD = 0.8  # of a vector around its cluster's centre, each of which is drawn from N(0, 1)
CHUNK = 100_000


def unit_vectors(num_rows: int, seed: int) -> Floats:
    """[N, V]; rows of other seeds come from the same clusters."""
    centres = np.random.default_rng(0).normal(size=(NUM_CLUSTERS, WIDTH)).astype(np.float32)
    random = np.random.default_rng(seed)
    vectors_NV = np.empty((num_rows, WIDTH), dtype=np.float32)
    for start in range(0, num_rows, CHUNK):
        block = vectors_NV[start : start + CHUNK]
        block[:] = random.standard_normal(block.shape, dtype=np.float32) * np.float32(SPREAD)
        block += centres[random.integers(0, NUM_CLUSTERS, len(block))]
        block /= np.linalg.norm(block, axis=1, keepdims=True)
    return vectors_NV


def everything(num_rows: int) -> Bools:
    """Every row is allowed."""
    return np.ones(num_rows, dtype=np.bool_)


def share(num_rows: int, allowed_share: float) -> Bools:
    """A random share of the rows is allowed."""
    return np.random.default_rng(9).random(num_rows) < allowed_share
