"""A navigable small-world graph over the first rows of an index; never changed once it serves.

Malkov and Yashunin 2018, "Efficient and robust approximate nearest neighbor search using HNSW graphs", by faiss: it
filters inside the walk. Vectors are kept in 8 bits per number here; whoever asks scores in float32 before the cut.
Shapes: B rows of the graph, V vector width.
"""

from typing import Any

import faiss
import numpy as np

from modeling.arrays import Bools, Floats, Ints
from services.cg.domain.index.row_filter import RowFilter

NUM_LINKS = 32
BUILD_BEAM = 80
TRAIN_ROWS = 50_000  # rows that the 8-bit ranges are taken from
BUILD_CHUNK = 4_096  # rows added by one call, after which others get their turn


class Graph:
    """`index` holds the rows 0..num_rows - 1. Searching is thread-safe and runs without Python's lock."""

    def __init__(self, index: Any, num_rows: int) -> None:
        self._index = index
        self.num_rows = num_rows

    def nearest(self, query_V: Floats, is_allowed_B: Bools, num: int, beam: int) -> Ints:
        """About `num` allowed rows that lie near, in no particular order, fewer where the beam met fewer."""
        allowed = RowFilter(is_allowed_B)
        parameters = faiss.SearchParametersHNSW(efSearch=max(beam, num), sel=allowed.selector)
        query_1V = np.ascontiguousarray(query_V[None], dtype=np.float32)
        found = self._index.search(query_1V, num, params=parameters)[1][0]
        return np.asarray(found[found >= 0], dtype=np.int64)

    def extended(self, vectors_NV: Floats) -> "Graph":
        """A copy that holds the rows after its last one as well. Slow: for the background."""
        index = faiss.clone_index(self._index)
        _add(index, vectors_NV[self.num_rows :])
        return Graph(index, len(vectors_NV))


def build(vectors_NV: Floats) -> Graph:
    """A graph of these rows, zero rows included. Slow, on one thread: about 0.2 ms per row."""
    quantizer = faiss.ScalarQuantizer.QT_8bit
    index = faiss.IndexHNSWSQ(vectors_NV.shape[1], quantizer, NUM_LINKS, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = BUILD_BEAM
    step = max(1, len(vectors_NV) // TRAIN_ROWS)
    index.train(np.ascontiguousarray(vectors_NV[::step]))
    _add(index, vectors_NV)
    return Graph(index, len(vectors_NV))


def _add(index: Any, vectors_PV: Floats) -> None:
    faiss.omp_set_num_threads(1)  # of this thread: searches must not wait for a build on all cores
    for start in range(0, len(vectors_PV), BUILD_CHUNK):
        index.add(np.ascontiguousarray(vectors_PV[start : start + BUILD_CHUNK]))
