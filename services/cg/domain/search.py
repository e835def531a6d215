"""The best rows by a score, and scores of chosen rows. Shapes: N rows, V vector width, R chosen rows."""

import numpy as np
import torch

from modeling.arrays import Bools, Doubles, Floats, Ints

BLOCK_ROWS = 262_144  # one call of a few milliseconds
SAMPLE_STEP = 16  # every 16th score tells about where the k-th best lies
SAMPLE_SLACK = 24  # more of the sample than k needs: the threshold is too high once in a thousand searches or less
GATHER_ROWS = 8_192  # rows fetched at once: 2 MB at width 64


def product_scores(vectors_NV: Floats, query_V: Floats) -> Floats:
    """Inner product of every row with the query [N], block by block, without Python's lock."""
    scores_N = np.empty(len(vectors_NV), dtype=np.float32)
    query = torch.from_numpy(np.require(query_V, np.float32, ["C", "W"]))
    for start in range(0, len(vectors_NV), BLOCK_ROWS):
        block = torch.from_numpy(vectors_NV[start : start + BLOCK_ROWS])
        torch.mv(block, query, out=torch.from_numpy(scores_N[start : start + BLOCK_ROWS]))
    return scores_N


def gathered_scores(vectors_NV: Floats, rows_R: Ints, query_V: Floats) -> Floats:
    """Inner product of these rows with the query [R]: cheaper than all rows when they are few."""
    scores_R = np.empty(len(rows_R), dtype=np.float32)
    for start in range(0, len(rows_R), GATHER_ROWS):
        end = start + GATHER_ROWS
        np.dot(vectors_NV[rows_R[start:end]], query_V, out=scores_R[start:end])
    return scores_R


def best_rows(scores_N: Floats | Doubles, is_allowed_N: Bools, k: int) -> Ints:
    """At most `k` allowed rows with a finite score, best first, ties by row; fewer when there are fewer."""
    if k <= 0:
        return np.zeros(0, dtype=np.int64)
    rows = np.flatnonzero(scores_N >= _threshold(scores_N, is_allowed_N, k))
    rows = _usable(rows, scores_N, is_allowed_N)
    if len(rows) < k:  # the threshold was too high, or there are not so many
        rows = _usable(np.flatnonzero(is_allowed_N), scores_N, is_allowed_N)
    if len(rows) > k:
        kept = np.argpartition(-scores_N[rows], k - 1)[:k]
        rows = rows[np.sort(kept)]
    return np.asarray(rows[np.argsort(-scores_N[rows], kind="stable")], dtype=np.int64)


def _usable(rows: Ints, scores_N: Floats | Doubles, is_allowed_N: Bools) -> Ints:
    return rows[is_allowed_N[rows] & np.isfinite(scores_N[rows])]


def _threshold(scores_N: Floats | Doubles, is_allowed_N: Bools, k: int) -> float:
    """A score that `k` allowed rows most likely reach and not many more; infinity when nothing can be said."""
    num_wanted = k // SAMPLE_STEP + SAMPLE_SLACK
    sample = scores_N[::SAMPLE_STEP][is_allowed_N[::SAMPLE_STEP]]
    if len(sample) <= 2 * num_wanted:
        return np.inf
    place = len(sample) - num_wanted
    found = float(np.partition(sample, place)[place])
    return found if np.isfinite(found) else np.inf
