"""Training batches from whole histories: a causal model learns from many prefixes of one window at once.

Each user gives one window per epoch, so that people count alike however much they do; where it ends is drawn anew each
time, more often at the newest event than elsewhere, because what is asked of the model is what comes next. Of a window
some new pins are positives, each foreseen from the events before it.
Shapes: U users with events, R windows of a batch, L positions, B positives.
"""

import numpy as np
import torch

from modeling.arrays import Bools, Ints
from modeling.interactions import Interactions
from services.cg.offline.tower_batch import TowerBatch

POSITIVES_PER_WINDOW = 16  # 64 windows × 16 are 1,024 rows, each with as many negatives


class HistoryWindows:
    """Cuts the events of `interactions`; random numbers are torch's, so that a checkpoint keeps them."""

    def __init__(
        self, interactions: Interactions, length: int, positives_per_window: int = POSITIVES_PER_WINDOW
    ) -> None:
        self._events, self._length, self._positives = interactions, length, positives_per_window
        self._user_U = np.flatnonzero(np.diff(interactions.starts) > 0)

    def __len__(self) -> int:
        return len(self._user_U)

    def batch(self, number_R: Ints) -> TowerBatch:
        """A window of each of these users, with at most so many positives on average."""
        user_R = self._user_U[number_R]
        start_R = self._events.starts[user_R]
        end_R = self._ends(start_R, self._events.starts[user_R + 1])
        event_RL = end_R[:, None] - np.arange(self._length, 0, -1)[None, :]
        is_real_RL = event_RL >= start_R[:, None]
        event_RL = np.where(is_real_RL, event_RL, 0)
        request_B, place_B = self._chosen(is_real_RL & self._events.is_new[event_RL])
        has_before_B = (place_B > 0) & is_real_RL[request_B, np.maximum(place_B - 1, 0)]
        return TowerBatch(
            pin_RL=torch.from_numpy(np.where(is_real_RL, self._events.pin_E[event_RL], -1)),
            type_RL=torch.from_numpy(np.where(is_real_RL, self._events.type_E[event_RL] + 1, 0)),
            user_id_R=torch.from_numpy(user_R),
            row_to_request_B=torch.from_numpy(request_B),
            position_B=torch.from_numpy(np.where(has_before_B, place_B - 1, -1)),
            target_B=torch.from_numpy(self._events.pin_E[event_RL[request_B, place_B]]),
        )

    def _ends(self, start_R: Ints, end_R: Ints) -> Ints:
        """Anywhere that leaves the window full; what would lie behind the newest event is the newest event."""
        most_R = end_R + self._length // 2
        least_R = np.minimum(start_R + self._length, end_R)
        drawn_R = least_R + (torch.rand(len(end_R), dtype=torch.float64).numpy() * (most_R - least_R + 1)).astype(
            np.int64
        )
        return np.asarray(np.minimum(drawn_R, end_R))

    def _chosen(self, can_be_RL: Bools) -> tuple[Ints, Ints]:
        request_B, place_B = np.nonzero(can_be_RL)
        most = self._positives * len(can_be_RL)
        if len(request_B) > most:
            kept = np.sort(torch.randperm(len(request_B))[:most].numpy())
            request_B, place_B = request_B[kept], place_B[kept]
        return request_B, place_B
