"""Pins near the user's vector, which is made from the newest events in every request.

Shapes: N rows of the snapshot, V vector width, L history positions.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from modeling.arrays import Floats
from services.cg.domain.generators.pin_encoder import NewSearch, PinEncoder
from services.cg.domain.index.live_search import LiveSearch
from services.cg.domain.pin_index import PinSnapshot
from services.cg.domain.retrieval import Degradation, Generated, HistoryEvent, RetrievalQuery
from services.cg.domain.two_tower import TwoTower
from services.cg.domain.two_tower_features import PinFeatures

NAME = "two_tower"


class TwoTowerPins:
    """One model version with the vectors of all pins of the index."""

    name = NAME

    def __init__(
        self,
        model: TwoTower,
        id_row_of_pin: Mapping[str, int],
        event_types: Sequence[str],
        version: str,
        new_search: NewSearch = LiveSearch,
    ) -> None:
        self.version = version
        self._model = model
        self._type_row = {name: row for row, name in enumerate(event_types, start=1)}
        self._pins = PinEncoder(
            self._encode,
            model.settings.vector_width,
            id_row_of_pin=id_row_of_pin,
            content_width=model.settings.content_width,
            num_topic_buckets=model.settings.topic_buckets,
            new_search=new_search,
        )

    def generate(self, query: RetrievalQuery, k: int) -> Generated:
        """The nearest allowed pins. A stored vector of another encoder version is refused and named."""
        user_V, degradations = self._user_vector(query)
        found = self._pins.nearest(query, user_V, k)
        return Generated(found.row_K, found.score_K, self.version, self.version, degradations)

    def warm(self, snapshot: PinSnapshot) -> None:
        """Encode new pins before a request needs them."""
        self._pins.vectors(snapshot)

    @torch.no_grad()
    def encode_history(self, history: Sequence[HistoryEvent], snapshot: PinSnapshot) -> Floats:
        """The user's vector [V]; an empty history gives the learned "no history" vector."""
        recent = history[-self._model.settings.max_history :]
        if not recent:
            return self._no_history()
        features = self._pins.features(snapshot, [event.pin_id for event in recent])
        pins_LD = self._model.embed_pins(*_tensors(features))
        types_L = torch.tensor([self._type_row.get(event.event_type, 0) for event in recent])
        is_real_L = torch.ones(len(recent), dtype=torch.bool)
        return np.asarray(self._model.user_vectors(pins_LD[None], types_L[None], is_real_L[None])[0].numpy())

    def _user_vector(self, query: RetrievalQuery) -> tuple[Floats, tuple[Degradation, ...]]:
        if query.history:
            return self.encode_history(query.history, query.snapshot), ()
        stored = query.stored_vectors.get(NAME)
        if stored is None:
            return self._no_history(), ()
        if not stored.fits(self.version, self._model.settings.vector_width):
            return self._no_history(), (Degradation("user_vector", "version_mismatch", "history_free"),)
        return stored.vector, ()

    @torch.no_grad()
    def _no_history(self) -> Floats:
        return np.asarray(torch.nn.functional.normalize(self._model.no_history, dim=-1).numpy())

    @torch.no_grad()
    def _encode(self, features: PinFeatures) -> Floats:
        return np.asarray(self._model.item_vectors(self._model.embed_pins(*_tensors(features))).numpy())


def _tensors(features: PinFeatures) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    id_row, content, topic = features.id_row_P, features.content_PC, features.topic_PT
    return torch.from_numpy(id_row), torch.from_numpy(content), torch.from_numpy(topic)
