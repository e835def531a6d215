"""Who engaged with which pin, when and how, as parallel arrays that models can be fitted on.

Shapes: E events, U users, P pins. Events are sorted by user, then by time.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from modeling.arrays import Bools, Floats, Ints

ENGAGEMENT_TYPES = ("click", "save", "long_view", "share", "conversion", "rating")


@dataclass(frozen=True)
class History:
    """One user's events, oldest first."""

    user_id: str
    pin_ids: Sequence[str]
    event_types: Sequence[str]
    event_times_ms: Sequence[int]


@dataclass(frozen=True)
class Interactions:
    """Events as arrays; `starts[u]:starts[u + 1]` are the events of user u."""

    user_ids: tuple[str, ...]
    pin_ids: tuple[str, ...]
    event_types: tuple[str, ...]
    user_E: Ints
    pin_E: Ints
    type_E: Ints
    time_ms_E: Ints

    @property
    def num_pins(self) -> int:
        return len(self.pin_ids)

    @cached_property
    def starts(self) -> Ints:
        """First event of each user, and the number of events."""
        return np.searchsorted(self.user_E, np.arange(len(self.user_ids) + 1)).astype(np.int64)

    @cached_property
    def is_new(self) -> Bools:
        """Whether the event is its user's first with its pin: the choice that models learn to foresee."""
        is_new_E = np.zeros(len(self.user_E), dtype=np.bool_)
        is_new_E[np.unique(self.user_E * self.num_pins + self.pin_E, return_index=True)[1]] = True
        return is_new_E

    def matrix(self) -> Floats:
        """Binary user × pin matrix [U, P]."""
        matrix_UP = np.zeros((len(self.user_ids), self.num_pins), dtype=np.float32)
        matrix_UP[self.user_E, self.pin_E] = 1.0
        return matrix_UP

    def keep(self, mask_E: Bools) -> "Interactions":
        """The same users and pins with only the events of `mask_E`."""
        return replace(
            self,
            user_E=self.user_E[mask_E],
            pin_E=self.pin_E[mask_E],
            type_E=self.type_E[mask_E],
            time_ms_E=self.time_ms_E[mask_E],
        )


def collect(
    histories: Sequence[History], pin_ids: Sequence[str], types: Sequence[str] = ENGAGEMENT_TYPES
) -> Interactions:
    """The events of `types` in `histories`; pins that `pin_ids` does not list are added behind it."""
    pin_row = {pin_id: row for row, pin_id in enumerate(pin_ids)}
    type_row = {name: row for row, name in enumerate(types)}
    rows: list[tuple[int, int, int, int]] = []
    for user, history in enumerate(histories):
        events = zip(history.event_times_ms, history.pin_ids, history.event_types, strict=True)
        for time_ms, pin_id, event_type in sorted(events, key=lambda event: event[0]):
            if event_type in type_row and pin_id:
                rows.append((user, pin_row.setdefault(pin_id, len(pin_row)), type_row[event_type], time_ms))
    table = np.asarray(rows, dtype=np.int64).reshape(-1, 4)
    users = tuple(history.user_id for history in histories)
    return Interactions(users, tuple(pin_row), tuple(types), *(np.ascontiguousarray(c) for c in table.T))


def leave_last_out(interactions: Interactions) -> tuple[Interactions, Ints]:
    """Hide, per user, the last pin that was new to the user, and all that followed.

    Returns what is left and the hidden pin per user [U]; -1 for a user whose first event would have to be hidden.
    A pin acted upon twice (a click, then a save) is one choice, so a label is never among the pins of its history.
    """
    starts = interactions.starts
    new_E = np.flatnonzero(interactions.is_new)
    label_event_U = new_E[np.searchsorted(new_E, starts[1:], side="left") - 1] if len(new_E) else starts[:-1]
    has_label_U = (label_event_U > starts[:-1]) & (label_event_U < starts[1:])  # else it is another user's
    cut_U = np.where(has_label_U, label_event_U, starts[1:])
    is_kept_E = np.arange(len(interactions.user_E)) < cut_U[interactions.user_E]
    label_U = np.full(len(interactions.user_ids), -1, dtype=np.int64)
    label_U[has_label_U] = interactions.pin_E[label_event_U[has_label_U]]
    return interactions.keep(is_kept_E), label_U
