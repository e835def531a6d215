"""Approximate search: a graph over the rows it was built from, the rows that came since searched exactly.

Shapes: N rows, B rows of the graph, V vector width.
"""

import numpy as np

from modeling.arrays import Bools, Floats
from services.cg.domain.index.cost_model import CostModel, beam_for
from services.cg.domain.index.exact_search import ExactSearch
from services.cg.domain.index.graph import Graph
from services.cg.domain.index.vector_search import Found, best_of
from services.cg.domain.search import gathered_scores

OVERSAMPLE = 2  # rows taken from the graph for each one wanted: 8 bits order neighbours only roughly


class GraphSearch:
    """Filters work inside the walk. Where few rows are allowed the exact way is cheaper and serves instead."""

    def __init__(self, graph: Graph, cost: CostModel) -> None:
        self.graph = graph
        self._cost = cost
        self._exact = ExactSearch(cost)

    def search(self, vectors_NV: Floats, query_V: Floats, is_allowed_N: Bools, k: int) -> Found:
        """See VectorSearch."""
        num_rows, width = vectors_NV.shape
        is_allowed_B = is_allowed_N[: self.graph.num_rows]
        num_allowed = int(np.count_nonzero(is_allowed_B))
        beam = beam_for(k, num_allowed / max(1, len(is_allowed_B)))
        graph_s = self._cost.graph_s(num_rows, beam)
        if k <= 0 or num_allowed <= OVERSAMPLE * k or graph_s > self._cost.exact_s(num_rows, num_allowed, width):
            return self._exact.search(vectors_NV, query_V, is_allowed_N, k)
        near = self.graph.nearest(query_V, is_allowed_B, OVERSAMPLE * k, beam)
        if len(near) < k:  # the walk ended in a corner without enough allowed rows
            return self._exact.search(vectors_NV, query_V, is_allowed_N, k)
        since = self.graph.num_rows + np.flatnonzero(is_allowed_N[self.graph.num_rows :])
        rows_R = np.unique(np.concatenate([near, since]))
        return best_of(rows_R, gathered_scores(vectors_NV, rows_R, query_V), k)
