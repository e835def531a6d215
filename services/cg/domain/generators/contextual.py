"""Pins near the user's vector in the context of a subject pin: a hidden state of the history, and a head per request.

Shapes: N rows of the snapshot, D hidden width, V vector width, L history positions.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from modeling.arrays import Floats
from services.cg.domain.generators.pin_encoder import NewSearch, PinEncoder
from services.cg.domain.index.live_search import LiveSearch
from services.cg.domain.pin_index import PinSnapshot
from services.cg.domain.retrieval import Degradation, Generated, HistoryEvent, RetrievalQuery
from services.cg.domain.two_tower_contextual import ContextualTwoTower, PinTensors
from services.cg.domain.two_tower_features import PinFeatures, interest_confidence

NAME = "contextual"


class ContextualPins:
    """One model version with the vectors of all pins of the index.

    The hidden state is made from the newest events when they are at hand, so that a save counts at once; otherwise the
    stored one of the same encoder version serves, otherwise the learned "no history" vector. With `is_state_stored`
    it is always the stored one, which then lags behind the history.
    """

    name = NAME

    def __init__(
        self,
        model: ContextualTwoTower,
        id_row_of_pin: Mapping[str, int],
        event_types: Sequence[str],
        version: str,
        new_search: NewSearch = LiveSearch,
        *,
        is_state_stored: bool = False,
    ) -> None:
        self.version = version
        self._is_state_stored = is_state_stored
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
        """The nearest allowed pins. A stored state of another version and an unknown subject are left out and named."""
        hidden_D, of_history = self._hidden(query)
        user_V, of_context = self._in_context(hidden_D, query)
        found = self._pins.nearest(query, user_V, k)
        return Generated(found.row_K, found.score_K, self.version, self.version, (*of_history, *of_context))

    def warm(self, snapshot: PinSnapshot) -> None:
        """Encode new pins before a request needs them."""
        self._pins.vectors(snapshot)

    @torch.no_grad()
    def encode_history(self, history: Sequence[HistoryEvent], snapshot: PinSnapshot) -> Floats:
        """The hidden state [D]: what the offline job publishes under this encoder's version."""
        recent = history[-self._model.settings.max_history :]
        if not recent:
            return self._no_history()
        features = self._pins.features(snapshot, [event.pin_id for event in recent])
        pins_LD = self._model.embed_pins(self._tensors(features))
        types_L = torch.tensor([self._type_row.get(event.event_type, 0) for event in recent])
        is_real_L = torch.ones(len(recent), dtype=torch.bool)
        return np.asarray(self._model.last_hidden(pins_LD[None], types_L[None], is_real_L[None])[0].numpy())

    def _hidden(self, query: RetrievalQuery) -> tuple[Floats, tuple[Degradation, ...]]:
        if query.history and not self._is_state_stored:
            return self.encode_history(query.history, query.snapshot), ()
        stored = query.stored_vectors.get(NAME)
        if stored is None:
            is_missing = bool(query.history)
            missing = (Degradation("hidden_state", "not_found", "history_free"),) if is_missing else ()
            return self._no_history(), missing
        if not stored.fits(self.version, self._model.settings.inner_width):
            return self._no_history(), (Degradation("hidden_state", "version_mismatch", "history_free"),)
        return stored.vector, ()

    @torch.no_grad()
    def _in_context(self, hidden_D: Floats, query: RetrievalQuery) -> tuple[Floats, tuple[Degradation, ...]]:
        """The head [V]."""
        subjects = [query.subject_pin_id] if query.subject_pin_id else []
        topic_1T = self._pins.features(query.snapshot, subjects or [""]).topic_PT
        context_1D = self._model.context(torch.from_numpy(topic_1T), torch.from_numpy(interest_confidence(topic_1T)))
        user_1V = self._model.user_vectors(torch.from_numpy(np.array(hidden_D))[None], context_1D)
        is_missing = bool(subjects) and not topic_1T.any()
        return np.asarray(user_1V[0].numpy()), (
            (Degradation("subject", "no_interests", "context_free"),) if is_missing else ()
        )

    @torch.no_grad()
    def _no_history(self) -> Floats:
        return np.asarray(self._model.no_history.numpy())

    @torch.no_grad()
    def _encode(self, features: PinFeatures) -> Floats:
        return np.asarray(self._model.item_vectors(self._model.embed_pins(self._tensors(features))).numpy())

    def _tensors(self, features: PinFeatures) -> PinTensors:
        """The live index has no graph vectors: a model that was trained with them reads zeros."""
        return PinTensors(
            torch.from_numpy(features.id_row_P),
            torch.from_numpy(features.content_PC),
            torch.zeros(len(features.id_row_P), self._model.settings.graph_width),
            torch.from_numpy(features.topic_PT),
        )
