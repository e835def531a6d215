"""Batches of the deduplicated reader as batches of the shopping tower.

Shapes: R requests, C candidates, B positives, N hard negatives.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from modeling.arrays import Bools, Floats, Ints
from modeling.click_duration import click_weights
from modeling.hashing import stable_hashes
from modeling.interactions import ENGAGEMENT_TYPES
from sequences.request_batch import RequestBatch
from services.cg.offline.click_durations import ClickDurations
from services.cg.offline.contextual_rows import RowsToTowerBatch
from services.cg.offline.shopping_batch import ShoppingBatch

FULL_CLICK_S = 30.0  # a click of this length or longer weighs 1
CLICK_FLOOR = 0.1  # the shortest click is still a choice
CLICKED, SAVED, CONVERTED = ("clicked", "long_viewed"), ("saved", "shared"), ("converted",)


@dataclass(frozen=True)
class Period:
    """Requests served from `start_ms` on and before `end_ms`, epoch milliseconds."""

    start_ms: int = 0
    end_ms: int = 1 << 62

    def holds(self, time_ms: Ints) -> Bools:
        """Which of these times are in it."""
        return np.asarray((time_ms >= self.start_ms) & (time_ms < self.end_ms))


ALWAYS = Period()


@dataclass(frozen=True)
class Inventory:
    """The catalogue's numbers by pin id, and which of them are ads [P]."""

    row_of_pin: Mapping[str, int]
    is_ad_P: Bools


@dataclass(frozen=True)
class RowChoice:
    """What of the rows is used: the period, weights by click duration, whether there is an engagement task, and how
    many hard negatives a request gives at most, the first ones shown."""

    period: Period = ALWAYS
    has_click_durations: bool = True
    has_engagement: bool = True
    negatives_per_request: int = 3


EVERYTHING = RowChoice()


class RowsToShoppingBatch:
    """Only served ads count: those acted upon are positives, those left alone hard negatives, hidden ones as well."""

    def __init__(
        self,
        inventory: Inventory,
        durations: ClickDurations,
        length: int,
        choice: RowChoice = EVERYTHING,
        event_types: Sequence[str] = ENGAGEMENT_TYPES,
    ) -> None:
        self._inventory, self._durations, self._choice = inventory, durations, choice
        self._rows = RowsToTowerBatch(inventory.row_of_pin, length, event_types)

    def __call__(self, rows: RequestBatch) -> ShoppingBatch:
        """Histories only of requests with a positive."""
        pin_C = self._rows.rows_of(rows.candidate_features.column("pin_id").to_pylist())
        is_usable_C = self._is_usable(rows, pin_C)
        conversion_C, engagement_C = self._weights(rows, is_usable_C)
        positive_B = np.flatnonzero((conversion_C > 0) | (engagement_C > 0))
        request_R, row_to_request_B = np.unique(rows.row_to_request[positive_B], return_inverse=True)
        asked = rows.take(request_R)
        pin_RL, type_RL = self._rows.histories(asked)
        negative_N = self._negatives(rows, is_usable_C)
        user_id = stable_hashes(rows.request_features.column("user_id").to_pylist())
        return ShoppingBatch(
            pin_RL=torch.from_numpy(pin_RL),
            type_RL=torch.from_numpy(type_RL),
            user_id_R=torch.from_numpy(user_id[request_R]),
            row_to_request_B=torch.from_numpy(row_to_request_B),
            target_B=torch.from_numpy(pin_C[positive_B]),
            conversion_B=torch.from_numpy(conversion_C[positive_B]),
            engagement_B=torch.from_numpy(engagement_C[positive_B]),
            negative_N=torch.from_numpy(pin_C[negative_N]),
            negative_user_N=torch.from_numpy(user_id[rows.row_to_request[negative_N]]),
        )

    def _is_usable(self, rows: RequestBatch, pin_C: Ints) -> Bools:
        served_ms_R = rows.request_features.column("served_time_ms").to_numpy()
        is_in_period_C = self._choice.period.holds(served_ms_R)[rows.row_to_request]
        return np.asarray(is_in_period_C & (pin_C >= 0) & self._inventory.is_ad_P[pin_C])

    def _weights(self, rows: RequestBatch, is_usable_C: Bools) -> tuple[Floats, Floats]:
        """Conversions weigh 1; a click or save weighs by how long the click held."""
        conversion_C = (_any(rows, CONVERTED) & is_usable_C).astype(np.float32)
        engagement_C = np.zeros(len(conversion_C), dtype=np.float32)
        if not self._choice.has_engagement:
            return conversion_C, engagement_C
        engaged = np.flatnonzero(_any(rows, CLICKED + SAVED) & is_usable_C)
        engagement_C[engaged] = 1.0
        if self._choice.has_click_durations and len(engaged):
            engagement_C[engaged] = click_weights(self._seconds(rows, engaged), FULL_CLICK_S, CLICK_FLOOR)
        return conversion_C, engagement_C

    def _seconds(self, rows: RequestBatch, chosen: Ints) -> Floats:
        requests = rows.request_features.take(rows.row_to_request[chosen])
        pin_ids = rows.candidate_features.column("pin_id").take(chosen).to_pylist()
        user_ids, served_ms = requests.column("user_id").to_pylist(), requests.column("served_time_ms").to_pylist()
        return self._durations.of(user_ids, pin_ids, served_ms)

    def _negatives(self, rows: RequestBatch, is_usable_C: Bools) -> Ints:
        """Places of ads that were left alone, the first ones of each request."""
        left = np.flatnonzero(is_usable_C & ~_any(rows, CONVERTED + CLICKED + SAVED))
        request = rows.row_to_request[left]
        place = np.arange(len(left)) - np.searchsorted(request, request, side="left")
        return np.asarray(left[place < self._choice.negatives_per_request])


def _any(rows: RequestBatch, labels: Sequence[str]) -> Bools:
    """Which candidates have one of these labels [C]."""
    found = [rows.candidate_features.column(name).to_numpy(zero_copy_only=False).astype(bool) for name in labels]
    return np.asarray(np.any(np.stack(found), axis=0))
