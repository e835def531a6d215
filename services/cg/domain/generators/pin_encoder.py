"""Item vectors of all pins of the index, kept up to date by what was appended since, and pins as model input.

Shapes: N rows of the snapshot, P pins, V vector width.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from modeling.arrays import Floats, Ints
from services.cg.domain.index.aligned_rows import AlignedRows
from services.cg.domain.index.live_search import LiveSearch, Vectors
from services.cg.domain.index.vector_search import Found
from services.cg.domain.pin_index import PinSnapshot
from services.cg.domain.retrieval import RetrievalQuery
from services.cg.domain.two_tower_features import PinFeatures, topic_buckets

NewSearch = Callable[[Vectors], LiveSearch]


class PinEncoder:
    """One model version's view of the live index; pins that came after training are placed by content. Thread-safe."""

    def __init__(
        self,
        encode: Callable[[PinFeatures], Floats],
        vector_width: int,
        *,
        id_row_of_pin: Mapping[str, int],
        content_width: int,
        num_topic_buckets: int,
        new_search: NewSearch = LiveSearch,
    ) -> None:
        self._encode, self._id_row_of_pin = encode, id_row_of_pin
        self._content_width, self._num_topic_buckets = content_width, num_topic_buckets
        self._vectors_NV = AlignedRows(self._encode_rows, np.zeros((0, vector_width), dtype=np.float32))
        self._search = new_search(self.vectors)

    def vectors(self, snapshot: PinSnapshot) -> Floats:
        """Encode what is new in the snapshot; vectors of its rows [N, V]."""
        return self._vectors_NV.of(snapshot)

    def nearest(self, query: RetrievalQuery, user_V: Floats, k: int) -> Found:
        """The `k` allowed pins nearest to the user's vector."""
        return self._search.search(query.snapshot, user_V, query.is_allowed_N, k)

    def features(self, snapshot: PinSnapshot, pin_ids: Sequence[str]) -> PinFeatures:
        """Id, content, topics, advertiser and price [P]; a pin that left the index keeps its id only."""
        rows: Ints = snapshot.rows_of(pin_ids)
        id_row_P = np.asarray([self._id_row_of_pin.get(pin_id, 0) for pin_id in pin_ids], dtype=np.int64)
        content_PC = np.zeros((len(rows), self._content_width), dtype=np.float32)
        advertiser_P, price_P = np.full(len(rows), -1, dtype=np.int64), np.zeros(len(rows), dtype=np.float32)
        topic_PT = np.full((len(rows), snapshot.columns.topic_hash_NT.shape[1]), -1, dtype=np.int64)
        is_here = rows >= 0
        topic_PT[is_here] = snapshot.columns.topic_hash_NT[rows[is_here]]
        advertiser_P[is_here] = snapshot.columns.advertiser_N[rows[is_here]]
        price_P[is_here] = snapshot.columns.price_N[rows[is_here]]
        if snapshot.columns.content_NW.shape[1] == self._content_width:
            content_PC[is_here] = snapshot.columns.content_NW[rows[is_here]]
        topic_PT = topic_buckets(topic_PT, self._num_topic_buckets)
        return PinFeatures(id_row_P, content_PC, topic_PT, advertiser_P=advertiser_P, price_P=price_P)

    def _encode_rows(self, snapshot: PinSnapshot, start: int, end: int) -> Floats:
        return self._encode(self.features(snapshot, snapshot.pin_ids[start:end]))
