"""What a person had done before each moment, as rectangular arrays that towers and rankers read.

Shapes: B rows, L history positions, U users.
"""

from dataclasses import dataclass

import numpy as np

from modeling.arrays import Bools, Ints
from modeling.interactions import Interactions


@dataclass(frozen=True)
class HistoryWindow:
    """For each row the events before it, right-aligned; where there is none the pin is -1, type and time are 0."""

    pin_BL: Ints
    type_BL: Ints
    time_ms_BL: Ints

    @property
    def is_real(self) -> Bools:
        return self.pin_BL >= 0

    def take(self, row_K: Ints) -> "HistoryWindow":
        """Only these rows."""
        return HistoryWindow(self.pin_BL[row_K], self.type_BL[row_K], self.time_ms_BL[row_K])


def windows_before(interactions: Interactions, event_B: Ints, length: int, user_B: Ints | None = None) -> HistoryWindow:
    """The `length` events before each event number, of the event's own user or of `user_B`.

    With `user_B` an event number may be one past the user's last event.
    """
    position_BL = event_B[:, None] - np.arange(length, 0, -1)[None, :]
    return _window(interactions, position_BL, interactions.user_E[event_B] if user_B is None else user_B)


def windows_at_end(interactions: Interactions, length: int) -> HistoryWindow:
    """The newest `length` events of every user."""
    position_UL = interactions.starts[1:, None] - np.arange(length, 0, -1)[None, :]
    return _window(interactions, position_UL, np.arange(len(interactions.user_ids)))


def _window(interactions: Interactions, position_BL: Ints, user_B: Ints) -> HistoryWindow:
    is_real_BL = position_BL >= interactions.starts[user_B][:, None]
    safe_BL = np.where(is_real_BL, position_BL, 0)
    return HistoryWindow(
        np.where(is_real_BL, interactions.pin_E[safe_BL], -1),
        np.where(is_real_BL, interactions.type_E[safe_BL] + 1, 0),
        np.where(is_real_BL, interactions.time_ms_E[safe_BL], 0),
    )
