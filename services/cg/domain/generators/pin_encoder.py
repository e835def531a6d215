"""Item vectors of all pins of the index, kept up to date by what was appended since, and pins as model input.

Shapes: N rows of the snapshot, P pins, V vector width.
"""

import threading
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from modeling.arrays import Floats, Ints
from services.cg.domain.pin_index import PinSnapshot
from services.cg.domain.two_tower_features import PinFeatures, topic_buckets

ENCODE_ROWS = 1_024  # pins encoded at once: a few milliseconds


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
    ) -> None:
        self._encode, self._id_row_of_pin = encode, id_row_of_pin
        self._content_width, self._num_topic_buckets = content_width, num_topic_buckets
        self._lock = threading.Lock()
        self._generation = -1
        self._nothing: Floats = np.zeros((0, vector_width), dtype=np.float32)
        self._vectors_NV = self._nothing

    def vectors(self, snapshot: PinSnapshot) -> Floats:
        """Encode what is new in the snapshot; vectors of its rows [N, V]."""
        with self._lock:
            if snapshot.generation != self._generation:
                self._generation, self._vectors_NV = snapshot.generation, self._nothing
            blocks = [self._vectors_NV]
            for start in range(len(self._vectors_NV), snapshot.num_rows, ENCODE_ROWS):
                pin_ids = snapshot.pin_ids[start : min(start + ENCODE_ROWS, snapshot.num_rows)]
                blocks.append(self._encode(self.features(snapshot, pin_ids)))
            if len(blocks) > 1:
                self._vectors_NV = np.concatenate(blocks)
            return self._vectors_NV[: snapshot.num_rows]

    def features(self, snapshot: PinSnapshot, pin_ids: Sequence[str]) -> PinFeatures:
        """Id, content and topics [P]; a pin that left the index keeps its id only."""
        rows: Ints = snapshot.rows_of(pin_ids)
        id_row_P = np.asarray([self._id_row_of_pin.get(pin_id, 0) for pin_id in pin_ids], dtype=np.int64)
        content_PC = np.zeros((len(rows), self._content_width), dtype=np.float32)
        topic_PT = np.full((len(rows), snapshot.columns.topic_hash_NT.shape[1]), -1, dtype=np.int64)
        is_here = rows >= 0
        topic_PT[is_here] = snapshot.columns.topic_hash_NT[rows[is_here]]
        if snapshot.columns.content_NW.shape[1] == self._content_width:
            content_PC[is_here] = snapshot.columns.content_NW[rows[is_here]]
        return PinFeatures(id_row_P, content_PC, topic_buckets(topic_PT, self._num_topic_buckets))
