"""The search of one set of vectors along the live index: exact, or by a graph that is built in the background.

Shapes: N rows, V vector width.
"""

import threading
from collections.abc import Callable
from weakref import WeakSet

from modeling.arrays import Bools, Floats
from services.cg.domain.index import graph
from services.cg.domain.index.cost_model import CostModel
from services.cg.domain.index.exact_search import ExactSearch
from services.cg.domain.index.graph_search import GraphSearch
from services.cg.domain.index.vector_search import Found, Kind, VectorSearch
from services.cg.domain.pin_index import PinSnapshot

MIN_NEW_ROWS = 16_384  # rows searched exactly beside the graph: a few tenths of a millisecond
MAX_NEW_SHARE = 0.05  # beyond both the graph is extended
GENERATIONS_KEPT = 2  # the one in use, and the one that requests in flight still read or that is being prepared

Vectors = Callable[[PinSnapshot], Floats]


class LiveSearch:
    """Thread-safe. Which way serves is one reference per generation of the index."""

    def __init__(self, vectors: Vectors, kind: Kind = "auto", cost: CostModel | None = None) -> None:
        self._vectors = vectors
        self._kind = kind
        self._cost = cost or CostModel()
        # a pinned graph serves whatever exact search would cost; only where too few rows are allowed it cannot
        self._graph_cost = self._cost.without_dense() if kind == "ann" else self._cost
        self._exact = ExactSearch(self._cost)
        self._graphs: dict[int, GraphSearch] = {}

    def search(self, snapshot: PinSnapshot, query_V: Floats, is_allowed_N: Bools, k: int) -> Found:
        """The nearest allowed rows of the snapshot."""
        way: VectorSearch = self._graphs.get(snapshot.generation, self._exact)
        return way.search(self._vectors(snapshot), query_V, is_allowed_N, k)

    def way(self, snapshot: PinSnapshot) -> Kind:
        """Which way serves this snapshot."""
        return "ann" if snapshot.generation in self._graphs else "exact"

    def prepare(self, snapshot: PinSnapshot) -> None:
        """Build or extend the graph if it is worth it. Slow: for one thread in the background."""
        vectors_NV = self._vectors(snapshot)
        built = self._graphs.get(snapshot.generation)
        if built is None:
            if self._wants_graph(vectors_NV):
                self._use(snapshot.generation, graph.build(vectors_NV))
        elif len(vectors_NV) - built.graph.num_rows > max(MIN_NEW_ROWS, MAX_NEW_SHARE * built.graph.num_rows):
            self._use(snapshot.generation, built.graph.extended(vectors_NV))

    def _wants_graph(self, vectors_NV: Floats) -> bool:
        if self._kind == "auto":
            return self._cost.wants_graph(*vectors_NV.shape)
        return self._kind == "ann" and len(vectors_NV) > 0

    def _use(self, generation: int, built: graph.Graph) -> None:
        kept = {**self._graphs, generation: GraphSearch(built, self._graph_cost)}
        self._graphs = {number: kept[number] for number in sorted(kept)[-GENERATIONS_KEPT:]}


class Searches:
    """Makes the searches of a process and prepares those still in use."""

    def __init__(self, kind: Kind = "auto") -> None:
        self._kind = kind
        self._lock = threading.Lock()
        self._made: WeakSet[LiveSearch] = WeakSet()

    def new(self, vectors: Vectors) -> LiveSearch:
        """A search over these vectors, forgotten when nobody uses it any more."""
        search = LiveSearch(vectors, self._kind)
        with self._lock:
            self._made.add(search)
        return search

    def prepare(self, snapshot: PinSnapshot) -> None:
        """See LiveSearch.prepare."""
        for search in self.in_use():
            search.prepare(snapshot)

    def in_use(self) -> list[LiveSearch]:
        """Those that somebody holds."""
        with self._lock:
            return list(self._made)
