"""Pins near the user's vector, which is made from the newest events in every request.

Shapes: N rows of the snapshot, V vector width, L history positions.
"""

import threading
from collections.abc import Mapping, Sequence

import numpy as np
import torch

from modeling.arrays import Floats, Ints
from services.cg.domain.pin_index import PinSnapshot
from services.cg.domain.retrieval import Degradation, Generated, HistoryEvent, RetrievalQuery
from services.cg.domain.search import best_rows, product_scores
from services.cg.domain.two_tower import TwoTower
from services.cg.domain.two_tower_features import PinFeatures, topic_buckets

NAME = "two_tower"
ENCODE_ROWS = 1_024  # pins encoded at once: a few milliseconds


class TwoTowerPins:
    """One model version with the vectors of all pins of the index; pins that arrive later are placed by content."""

    name = NAME

    def __init__(
        self, model: TwoTower, id_row_of_pin: Mapping[str, int], event_types: Sequence[str], version: str
    ) -> None:
        self.version = version
        self._model = model
        self._id_row_of_pin = id_row_of_pin
        self._type_row = {name: row for row, name in enumerate(event_types, start=1)}
        self._lock = threading.Lock()
        self._generation = -1
        self._vectors_NV = self._no_vectors()

    def generate(self, query: RetrievalQuery, k: int) -> Generated:
        """The nearest allowed pins. A stored vector of another encoder version is refused and named."""
        vectors_NV = self.sync(query.snapshot)
        user_V, degradations = self._user_vector(query)
        score_N = product_scores(vectors_NV, user_V)
        rows = best_rows(score_N, query.is_allowed_N, k)
        return Generated(rows, score_N[rows], self.version, self.version, degradations)

    def warm(self, snapshot: PinSnapshot) -> None:
        """Encode new pins before a request needs them."""
        self.sync(snapshot)

    def sync(self, snapshot: PinSnapshot) -> Floats:
        """Encode what is new in the snapshot; vectors of its rows [N, V]."""
        with self._lock:
            if snapshot.generation != self._generation:
                self._generation, self._vectors_NV = snapshot.generation, self._no_vectors()
            blocks = [self._vectors_NV]
            for start in range(len(self._vectors_NV), snapshot.num_rows, ENCODE_ROWS):
                rows = np.arange(start, min(start + ENCODE_ROWS, snapshot.num_rows))
                blocks.append(self._encode(snapshot, rows))
            if len(blocks) > 1:
                self._vectors_NV = np.concatenate(blocks)
            return self._vectors_NV[: snapshot.num_rows]

    @torch.no_grad()
    def encode_history(self, history: Sequence[HistoryEvent], snapshot: PinSnapshot) -> Floats:
        """The user's vector [V]; an empty history gives the learned "no history" vector."""
        recent = history[-self._model.settings.max_history :]
        if not recent:
            return self._no_history()
        features = self._features(snapshot, [event.pin_id for event in recent])
        pins_LD = self._model.embed_pins(*_tensors(features))
        types_L = torch.tensor([self._type_row.get(event.event_type, 0) for event in recent])
        is_real_L = torch.ones(len(recent), dtype=torch.bool)
        return np.asarray(self._model.user_vectors(pins_LD[None], types_L[None], is_real_L[None])[0].numpy())

    def _user_vector(self, query: RetrievalQuery) -> tuple[Floats, tuple[Degradation, ...]]:
        if query.history:
            return self.encode_history(query.history, query.snapshot), ()
        stored = query.stored_vector
        if stored is None:
            return self._no_history(), ()
        width = self._model.settings.vector_width
        if stored.encoder_version != self.version or stored.vector.shape != (width,):
            return self._no_history(), (Degradation("user_vector", "version_mismatch", "history_free"),)
        return stored.vector, ()

    @torch.no_grad()
    def _no_history(self) -> Floats:
        return np.asarray(torch.nn.functional.normalize(self._model.no_history, dim=-1).numpy())

    @torch.no_grad()
    def _encode(self, snapshot: PinSnapshot, rows: Ints) -> Floats:
        features = self._features(snapshot, [snapshot.pin_ids[row] for row in rows])
        return np.asarray(self._model.item_vectors(self._model.embed_pins(*_tensors(features))).numpy())

    def _features(self, snapshot: PinSnapshot, pin_ids: Sequence[str]) -> PinFeatures:
        """Id, content and topics; a pin that left the index keeps its id only."""
        rows, settings = snapshot.rows_of(pin_ids), self._model.settings
        id_row_P = np.asarray([self._id_row_of_pin.get(pin_id, 0) for pin_id in pin_ids], dtype=np.int64)
        content_PC = np.zeros((len(rows), settings.content_width), dtype=np.float32)
        topic_PT = np.full((len(rows), snapshot.columns.topic_hash_NT.shape[1]), -1, dtype=np.int64)
        is_here = rows >= 0
        topic_PT[is_here] = snapshot.columns.topic_hash_NT[rows[is_here]]
        if snapshot.columns.content_NW.shape[1] == settings.content_width:
            content_PC[is_here] = snapshot.columns.content_NW[rows[is_here]]
        return PinFeatures(id_row_P, content_PC, topic_buckets(topic_PT, settings.topic_buckets))

    def _no_vectors(self) -> Floats:
        return np.zeros((0, self._model.settings.vector_width), dtype=np.float32)


def _tensors(features: PinFeatures) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    id_row, content, topic = features.id_row_P, features.content_PC, features.topic_PT
    return torch.from_numpy(id_row), torch.from_numpy(content), torch.from_numpy(topic)
