"""Pins near the subject pin: by content, and by the graph of who engaged with what once a bundle tells it.

Shapes: N rows of the snapshot, P pins of the bundle, C content width, G width of a graph vector.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from chassis.errors import NotFound
from modeling.arrays import Floats
from modeling.graph_vectors import foretold
from services.cg.domain.generators.pin_encoder import NewSearch
from services.cg.domain.generators.row_map import RowMap
from services.cg.domain.index.aligned_rows import AlignedRows
from services.cg.domain.index.live_search import LiveSearch
from services.cg.domain.pin_index import PinSnapshot
from services.cg.domain.retrieval import Generated, RetrievalQuery

NAME = "related"


class RelatedPins:
    """Cosine similarity of content vectors."""

    name = NAME
    version = ""

    def __init__(self, new_search: NewSearch = LiveSearch) -> None:
        self._search = new_search(lambda snapshot: snapshot.columns.content_NW)

    def generate(self, query: RetrievalQuery, k: int) -> Generated:
        """The nearest allowed pins, without the subject itself.

        Raises: NotFound when the subject is not in the index or has no content vector.
        """
        snapshot = query.snapshot
        row = int(snapshot.rows_of([query.subject_pin_id])[0])
        if row < 0 or not snapshot.columns.has_vector_N[row]:
            raise NotFound(f"subject pin {query.subject_pin_id!r} is not in the index or has no content vector")
        is_allowed_N = query.is_allowed_N & snapshot.columns.has_vector_N
        is_allowed_N[row] = False
        found = self._search.search(snapshot, snapshot.columns.content_NW[row], is_allowed_N, k)
        return Generated(found.row_K, found.score_K)


@dataclass(frozen=True)
class PinGraph:
    """Unit graph vectors of known pins (zeros = nobody engaged with it), and how content foretells those of others."""

    row_of_pin: Mapping[str, int]
    graph_PG: Floats
    content_to_graph_CG: Floats
    graph_weight: float  # of the similarity; the rest is content's


class GraphRelatedPins:
    """(1 - w) times the cosine of content plus w times that of graph vectors, as one inner product."""

    name = NAME

    def __init__(self, graph: PinGraph, version: str, new_search: NewSearch = LiveSearch) -> None:
        self.version = version
        self._graph = graph
        self._bundle_rows = RowMap(graph.row_of_pin)
        self._content_width, graph_width = graph.content_to_graph_CG.shape
        nothing = np.zeros((0, self._content_width + graph_width), dtype=np.float32)
        self._vectors = AlignedRows(self._encode, nothing)
        self._search = new_search(self._vectors.of)
        self._by_content = RelatedPins(new_search)

    def warm(self, snapshot: PinSnapshot) -> None:
        """Place new pins before a request needs them."""
        self._vectors.of(snapshot)

    def generate(self, query: RetrievalQuery, k: int) -> Generated:
        """The nearest allowed pins, without the subject itself; by content alone when its vectors are of another width.

        Raises: NotFound when the subject is not in the index, or has neither content nor a graph vector.
        """
        snapshot = query.snapshot
        if snapshot.columns.content_NW.shape[1] not in (0, self._content_width):
            return self._by_content.generate(query, k)
        row = int(snapshot.rows_of([query.subject_pin_id])[0])
        vectors_NV = self._vectors.of(snapshot)
        if row < 0 or not vectors_NV[row].any():
            raise NotFound(f"subject pin {query.subject_pin_id!r} is not in the index, or nothing is known of it")
        is_placed_N = snapshot.columns.has_vector_N | (self._bundle_rows.of(snapshot) >= 0)
        is_allowed_N = query.is_allowed_N & is_placed_N
        is_allowed_N[row] = False
        found = self._search.search(snapshot, vectors_NV[row], is_allowed_N, k)
        return Generated(found.row_K, found.score_K, index_version=self.version)

    def _encode(self, snapshot: PinSnapshot, start: int, end: int) -> Floats:
        content_NC = snapshot.columns.content_NW[start:end]
        if content_NC.shape[1] != self._content_width:
            content_NC = np.zeros((end - start, self._content_width), dtype=np.float32)
        bundle_row_N = np.asarray([self._graph.row_of_pin.get(pin_id, -1) for pin_id in snapshot.pin_ids[start:end]])
        graph_NG = foretold(content_NC, self._graph.content_to_graph_CG)
        is_known_N = bundle_row_N >= 0
        known_NG = self._graph.graph_PG[bundle_row_N[is_known_N]]
        graph_NG[is_known_N] = np.where(known_NG.any(axis=1, keepdims=True), known_NG, graph_NG[is_known_N])
        weight = self._graph.graph_weight
        return np.concatenate([np.sqrt(1 - weight) * content_NC, np.sqrt(weight) * graph_NG], axis=1).astype(np.float32)
