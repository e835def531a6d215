"""Which events of a dataset serve what, so that nothing is judged, or tuned, by what it was taught with.

Each user's last new pin is the label. Of what is left the older events teach what follows what, and the newer ones make
the requests that the ranker is tuned on; held-out users teach nothing, they calibrate.
Shapes: U users, E events.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from modeling.arrays import Bools, Ints
from modeling.hashing import stable_hashes
from modeling.interactions import Interactions, leave_last_out

OLDER_SHARE = 0.5  # of each user's events
HELD_OUT = 10  # every tenth user: a surface needs some thousand candidates for honest probabilities
NEVER_MS = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Parts:
    """`train` is `events` without each user's label and all that followed it; `label_U` is -1 where there is none."""

    events: Interactions
    train: Interactions
    label_U: Ints

    @cached_property
    def first_newer_U(self) -> Ints:
        """Number of each user's first newer event in `train`; one past the last when there is none."""
        num_older_U = np.ceil(np.diff(self.train.starts) * OLDER_SHARE).astype(np.int64)
        return self.train.starts[:-1] + num_older_U

    @cached_property
    def older(self) -> Interactions:
        """The older events of all that are not held out."""
        return self.train.keep(~self.is_asked_E & ~self.is_held_out_U[self.train.user_E])

    @cached_property
    def is_asked_E(self) -> Bools:
        """Events of `train` whose pins requests may be about: the newer ones, and all of held-out users."""
        is_newer_E = np.arange(len(self.train.user_E)) >= self.first_newer_U[self.train.user_E]
        return is_newer_E | self.is_held_out_U[self.train.user_E]

    @cached_property
    def is_held_out_U(self) -> Bools:
        """By the users' names, so that a later dataset holds the same ones out; at least one user of two is, and is
        not."""
        is_out_U: Bools = stable_hashes(self.train.user_ids) % HELD_OUT == 0
        if is_out_U.all() or not is_out_U.any():
            is_out_U = np.arange(len(is_out_U)) % HELD_OUT == 0
        return is_out_U

    @cached_property
    def asked_from_ms_U(self) -> Ints:
        """When the events begin that requests may be about."""
        newer_from_ms_U = _times_at(self.train, self.first_newer_U, self.train.starts[1:])
        return np.where(self.is_held_out_U, 0, newer_from_ms_U)

    @cached_property
    def label_time_ms_U(self) -> Ints:
        """When each user chose the label."""
        return _times_at(self.events, self.events.starts[:-1] + np.diff(self.train.starts), self.events.starts[1:])


def part(events: Interactions) -> Parts:
    """The parts of all events."""
    return Parts(events, *leave_last_out(events))


def _times_at(events: Interactions, event_U: Ints, end_U: Ints) -> Ints:
    """The time of these events [U]; one that never comes for those at the end of their user's."""
    time_ms_U = np.full(len(event_U), NEVER_MS)
    is_there_U = event_U < end_U
    time_ms_U[is_there_U] = events.time_ms_E[event_U[is_there_U]]
    return time_ms_U
