"""The newest pins, so that what nobody has engaged with yet gets its chance."""

import numpy as np

from services.cg.domain.retrieval import Generated, RetrievalQuery
from services.cg.domain.search import best_rows

NAME = "fresh"
HALF_LIFE_S = 3 * 86_400.0  # a pin of three days scores half of one published now


class FreshPins:
    """Newest first; pins without a creation time are never fresh."""

    name = NAME
    version = ""

    def generate(self, query: RetrievalQuery, k: int) -> Generated:
        """The newest allowed pins; the score falls from 1 with age."""
        created_ms_N = query.snapshot.columns.created_ms_N
        rows = best_rows(created_ms_N.astype(np.float64), query.is_allowed_N & (created_ms_N > 0), k)
        age_s_K = np.maximum(query.now_ms - created_ms_N[rows], 0) / 1_000.0
        return Generated(rows, (0.5 ** (age_s_K / HALF_LIFE_S)).astype(np.float32))
