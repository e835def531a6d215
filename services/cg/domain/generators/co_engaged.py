"""Pins that people engage with along with the ones in the history: EASE over a recency-weighted history."""

from collections.abc import Mapping

import numpy as np

from modeling.item_to_item import Neighbours
from services.cg.domain.generators.row_map import RowMap
from services.cg.domain.pin_index import PinSnapshot
from services.cg.domain.retrieval import Generated, RetrievalQuery
from services.cg.domain.search import best_rows

NAME = "co_engaged"


class CoEngagedPins:
    """Item-to-item weights of one bundle version."""

    name = NAME

    def __init__(self, row_of_pin: Mapping[str, int], neighbours: Neighbours, version: str) -> None:
        self.version = version
        self._row_of_pin = row_of_pin
        self._neighbours = neighbours
        self._rows = RowMap(row_of_pin)

    def warm(self, snapshot: PinSnapshot) -> None:
        """Find the new pins in the bundle."""
        self._rows.of(snapshot)

    def generate(self, query: RetrievalQuery, k: int) -> Generated:
        """The best allowed pins for the history and the subject; none when the bundle knows none of them."""
        bundle_row_N = self._rows.of(query.snapshot)
        pin_ids = [event.pin_id for event in query.history]
        pin_ids += [query.subject_pin_id] if query.subject_pin_id else []
        history_L = np.asarray([self._row_of_pin.get(pin_id, -1) for pin_id in pin_ids], dtype=np.int64)
        if not (history_L >= 0).any():
            return Generated(np.zeros(0, np.int64), np.zeros(0, np.float32), index_version=self.version)
        score_P = self._neighbours.score(history_L)
        score_N = np.where(bundle_row_N >= 0, score_P[bundle_row_N], 0.0).astype(np.float32)
        rows = best_rows(score_N, query.is_allowed_N & (score_N > 0), k)
        return Generated(rows, score_N[rows], index_version=self.version)
