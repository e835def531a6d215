"""Exact search: every allowed row is scored, recall is 1.

Shapes: N rows, V vector width, K rows found.
"""

import faiss
import numpy as np

from modeling.arrays import Bools, Floats
from services.cg.domain.index.cost_model import CostModel
from services.cg.domain.index.vector_search import Found, best_of
from services.cg.domain.search import best_rows, gathered_scores, product_scores


class ExactSearch:
    """Scores all rows, or only the allowed ones where the cost model says that fetching them is cheaper."""

    def __init__(self, cost: CostModel) -> None:
        self._cost = cost

    def search(self, vectors_NV: Floats, query_V: Floats, is_allowed_N: Bools, k: int) -> Found:
        """See VectorSearch."""
        num_rows, width = vectors_NV.shape
        num_allowed = int(np.count_nonzero(is_allowed_N))
        if self._cost.gather_s(num_rows, num_allowed, width) < self._cost.dense_s(num_rows, width):
            rows_R = np.flatnonzero(is_allowed_N)
            return best_of(rows_R, gathered_scores(vectors_NV, rows_R, query_V), k)
        if num_allowed == num_rows:
            return _unfiltered(vectors_NV, query_V, k)
        scores_N = product_scores(vectors_NV, query_V)
        rows_K = best_rows(scores_N, is_allowed_N, k)
        return Found(rows_K, scores_N[rows_K])


def _unfiltered(vectors_NV: Floats, query_V: Floats, k: int) -> Found:
    """Products and a top-k in one pass of faiss over the array as it lies there, without Python's lock.

    With a filter inside, this pass is slower than a product and a top-k apart: at half of the rows allowed, twice.
    """
    num_rows, width = vectors_NV.shape
    if not (k := max(0, min(k, num_rows))):
        return Found(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32))
    vectors_NV, query_V = np.ascontiguousarray(vectors_NV), np.ascontiguousarray(query_V, dtype=np.float32)
    score_K, row_K = np.empty(k, dtype=np.float32), np.empty(k, dtype=np.int64)
    query, vectors, scores, rows = (faiss.swig_ptr(each) for each in (query_V, vectors_NV, score_K, row_K))
    faiss.knn_inner_product(query, vectors, width, 1, num_rows, k, scores, rows)
    order_K = np.lexsort((row_K, -score_K))
    order_K = order_K[(row_K[order_K] >= 0) & np.isfinite(score_K[order_K])]  # to a query of NaN nothing is near
    return Found(row_K[order_K], score_K[order_K])
