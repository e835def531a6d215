"""Exact search: a matrix product in blocks and the best allowed rows of it.

Shapes: N rows, V vector width.
"""

import numpy as np

from modeling.arrays import Bools, Doubles, Floats, Ints

BLOCK_ROWS = 16_384  # 16 k × 64 floats are 4 MB: a block stays in the cache of one core


def product_scores(vectors_NV: Floats, query_V: Floats) -> Floats:
    """Inner product of every row with the query [N]."""
    scores_N = np.empty(len(vectors_NV), dtype=np.float32)
    for start in range(0, len(vectors_NV), BLOCK_ROWS):
        end = start + BLOCK_ROWS
        np.dot(vectors_NV[start:end], query_V, out=scores_N[start:end])
    return scores_N


def best_rows(scores_N: Floats | Doubles, is_allowed_N: Bools, k: int) -> Ints:
    """At most `k` allowed rows with a finite score, best first, ties by row; fewer when there are fewer."""
    rows = np.flatnonzero(is_allowed_N & np.isfinite(scores_N))
    if k <= 0:
        return rows[:0]
    if len(rows) > k:
        kept = np.argpartition(-scores_N[rows], k - 1)[:k]
        rows = rows[np.sort(kept)]
    return np.asarray(rows[np.argsort(-scores_N[rows], kind="stable")], dtype=np.int64)
