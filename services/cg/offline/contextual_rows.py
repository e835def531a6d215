"""Batches of the deduplicated reader as batches of the contextual tower.

Shapes: R requests, L history positions, B positives.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from modeling.arrays import Bools, Ints
from modeling.hashing import stable_hashes
from modeling.interactions import ENGAGEMENT_TYPES
from sequences.request_batch import RequestBatch
from sequences.sequence_value import unpacked
from sequences.training_rows import SEQUENCE
from services.cg.offline.tower_batch import TowerBatch

POSITIVE_LABELS = ("clicked", "saved", "long_viewed", "shared", "converted")


class RowsToTowerBatch:
    """Knows the numbers of pins and event types; candidates and events of other pins are left out."""

    def __init__(
        self, row_of_pin: Mapping[str, int], length: int, event_types: Sequence[str] = ENGAGEMENT_TYPES
    ) -> None:
        self._row_of_pin, self._length = row_of_pin, length
        self._type_row = {name: row for row, name in enumerate(event_types, start=1)}

    @property
    def num_event_types(self) -> int:
        """How many kinds of events histories have."""
        return len(self._type_row)

    def __call__(self, rows: RequestBatch) -> TowerBatch:
        """Every candidate that a person acted on is a positive after the newest event of its request."""
        pin_RL, type_RL = self.histories(rows)
        pin_B = self.rows_of(rows.candidate_features.column("pin_id").to_pylist())
        chosen_B = np.flatnonzero(_is_positive(rows) & (pin_B >= 0))
        request_B = rows.row_to_request[chosen_B]
        has_history_B = pin_RL[request_B, -1] >= 0
        return TowerBatch(
            pin_RL=torch.from_numpy(pin_RL),
            type_RL=torch.from_numpy(type_RL),
            user_id_R=torch.from_numpy(stable_hashes(rows.request_features.column("user_id").to_pylist())),
            row_to_request_B=torch.from_numpy(request_B),
            position_B=torch.from_numpy(np.where(has_history_B, self._length - 1, -1)),
            target_B=torch.from_numpy(pin_B[chosen_B]),
        )

    def histories(self, rows: RequestBatch) -> tuple[Ints, Ints]:
        """The newest engagements, right-aligned [R, L] each: pins (-1 = none) and rows of event types (0 = none)."""
        pin_RL = np.full((rows.num_requests, self._length), -1, dtype=np.int64)
        type_RL = np.zeros((rows.num_requests, self._length), dtype=np.int64)
        events, offsets_R1 = unpacked(rows.request_features.column(SEQUENCE))
        if not events.num_rows:
            return pin_RL, type_RL
        pin_E = self.rows_of(events.column("pin_id").to_pylist())
        type_E = np.fromiter((self._type_row.get(t, 0) for t in events.column("event_type").to_pylist()), np.int64)
        is_kept_E = (pin_E >= 0) & (type_E > 0)
        request_E = np.repeat(np.arange(rows.num_requests), np.diff(offsets_R1))[is_kept_E]
        place_E = np.arange(len(request_E)) - np.searchsorted(request_E, request_E, side="right") + self._length
        is_new_enough_E = place_E >= 0
        at = request_E[is_new_enough_E], place_E[is_new_enough_E]
        pin_RL[at] = pin_E[is_kept_E][is_new_enough_E]
        type_RL[at] = type_E[is_kept_E][is_new_enough_E]
        return pin_RL, type_RL

    def rows_of(self, pin_ids: Sequence[str]) -> Ints:
        """Numbers of these pins, -1 where one is not known."""
        return np.fromiter((self._row_of_pin.get(pin_id, -1) for pin_id in pin_ids), np.int64, len(pin_ids))


def _is_positive(rows: RequestBatch) -> Bools:
    labels = [rows.candidate_features.column(name).to_numpy(zero_copy_only=False) for name in POSITIVE_LABELS]
    return np.asarray(np.any(np.stack([label.astype(bool) for label in labels]), axis=0))
