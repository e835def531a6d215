"""Ads that a person may buy from: near the user's vector, which is made from the newest events in every request.

Shapes: N rows of the snapshot, P pins, V vector width, L history positions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch

from chassis.errors import NotFound
from modeling.arrays import Floats
from services.cg.domain.generators.pin_encoder import NewSearch, PinEncoder
from services.cg.domain.index.live_search import LiveSearch
from services.cg.domain.pin_index import PinSnapshot
from services.cg.domain.retrieval import Degradation, Generated, HistoryEvent, RetrievalQuery
from services.cg.domain.shopping_features import ShoppingFeatures
from services.cg.domain.two_tower_features import PinFeatures
from services.cg.domain.two_tower_shopping import ShoppingTwoTower, shopping_tensors

NAME = "shopping"
NOTHING = Generated(np.zeros(0, np.int64), np.zeros(0, np.float32))


class NoModelYet:
    """Stands in until a bundle is released: without ads nothing is missing."""

    name = NAME

    def generate(self, query: RetrievalQuery, k: int) -> Generated:  # noqa: ARG002 - the port's signature
        """Nothing. Raises: NotFound when there are ads, which only a model can choose from."""
        if _has_ads(query.snapshot):
            raise NotFound(f"generator {NAME!r} is not there: no bundle of it was released", field="generators")
        return NOTHING


class ShoppingPins:
    """One model version with the vectors of all pins of the index; only ads are ever returned."""

    name = NAME

    def __init__(
        self,
        model: ShoppingTwoTower,
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
        """The nearest allowed ads. A stored vector of another encoder version is refused and named."""
        if not _has_ads(query.snapshot):
            return replace(NOTHING, index_version=self.version, encoder_version=self.version)
        is_ad_N = query.snapshot.columns.advertiser_N >= 0
        user_V, degradations = self._user_vector(query)
        found = self._pins.nearest(replace(query, is_allowed_N=query.is_allowed_N & is_ad_N), user_V, k)
        return Generated(found.row_K, found.score_K, self.version, self.version, degradations)

    def warm(self, snapshot: PinSnapshot) -> None:
        """Encode new pins before a request needs them."""
        self._pins.vectors(snapshot)

    @torch.no_grad()
    def encode_history(self, history: Sequence[HistoryEvent], snapshot: PinSnapshot) -> Floats:
        """The user's vector [V]; an empty history has one as well."""
        recent = history[-self._model.settings.max_history :]
        if not recent:
            return self._no_history()
        features = ShoppingFeatures.of(self._pins.features(snapshot, [event.pin_id for event in recent]))
        raw_LF = self._model.describe(shopping_tensors(features, self._model.settings.advertiser_buckets))
        types_L = torch.tensor([self._type_row.get(event.event_type, 0) for event in recent])
        is_ad_L = torch.from_numpy(features.advertiser_P >= 0)
        is_real_L = torch.ones(len(recent), dtype=torch.bool)
        vectors_1V = self._model.user_vectors(raw_LF[None], types_L[None], is_ad_L[None], is_real_L[None])
        return np.asarray(vectors_1V[0].numpy())

    def _user_vector(self, query: RetrievalQuery) -> tuple[Floats, tuple[Degradation, ...]]:
        if query.history:
            return self.encode_history(query.history, query.snapshot), ()
        stored = query.stored_vectors.get(NAME)
        if stored is None:
            return self._no_history(), ()
        if not stored.fits(self.version, self._model.settings.vector_width):
            return self._no_history(), (Degradation("shopping_vector", "version_mismatch", "history_free"),)
        return stored.vector, ()

    @torch.no_grad()
    def _no_history(self) -> Floats:
        nothing, none = torch.zeros(1, 1, self._model.settings.raw_width), torch.zeros(1, 1, dtype=torch.bool)
        return np.asarray(self._model.user_vectors(nothing, none.long(), none, none)[0].numpy())

    @torch.no_grad()
    def _encode(self, features: PinFeatures) -> Floats:
        tensors = shopping_tensors(ShoppingFeatures.of(features), self._model.settings.advertiser_buckets)
        return np.asarray(self._model.item_vectors(self._model.describe(tensors)).numpy())


def _has_ads(snapshot: PinSnapshot) -> bool:
    columns = snapshot.columns
    return bool(((columns.advertiser_N >= 0) & columns.is_live_N).any())
