"""What candidate generation needs from the world."""

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from chassis.deadline import Deadline
from modeling.arrays import Floats
from services.cg.domain.pin_index import PinSnapshot
from services.cg.domain.retrieval import Generated, HistoryEvent, RetrievalQuery, StoredVector, SurfacePlan
from services.cg.domain.stored_pins import StoredPins


class Generator(Protocol):
    """One way to find candidates. `generate` is pure CPU work and may run in any thread."""

    name: str

    def generate(self, query: RetrievalQuery, k: int) -> Generated:
        """At most `k` allowed rows, best first, unique, with finite scores.

        Raises: NotFound when it has nothing to go on.
        """
        ...

    def warm(self, snapshot: PinSnapshot) -> None:
        """Take in pins that are new in the snapshot; a generator may also do so when it is asked."""
        ...


class Histories(Protocol):
    """What users did."""

    async def recent(self, user_id: str, deadline: Deadline) -> tuple[HistoryEvent, ...]:
        """The newest engagements, oldest first; empty for an unknown user. Raises: Unavailable, DeadlineExceeded."""
        ...


class UserVectors(Protocol):
    """User vectors computed before."""

    async def stored(self, user_id: str, encoders: Sequence[str], deadline: Deadline) -> Mapping[str, StoredVector]:
        """The newest stored vector by encoder, of those that have one. Raises: Unavailable, DeadlineExceeded."""
        ...


@runtime_checkable
class HistoryEncoder(Protocol):
    """A generator whose encoder makes a user's vector or hidden state from events alone."""

    version: str

    def encode_history(self, history: Sequence[HistoryEvent], snapshot: PinSnapshot) -> Floats:
        """What is published under the encoder's version; pure CPU work, in any thread."""
        ...


class UserStates(Protocol):
    """Where vectors and hidden states go, to be stored by the indexer."""

    async def publish(self, user_id: str, encoder: str, stored: StoredVector, computed_time_ms: int) -> None:
        """Return when it cannot be lost any more. Raises: Unavailable."""
        ...


class StateMeter(Protocol):
    """Where counts of the refresh go."""

    def refreshed(self, outcome: str) -> None:
        """One user's refresh ended, or could not begin."""
        ...

    def waiting(self, num_users: int) -> None:
        """So many wait."""
        ...


class SurfacePlans(Protocol):
    """Which generators serve a surface."""

    def plan(self, surface: str) -> SurfacePlan:
        """Raises: NotFound for an unknown surface."""
        ...


class RetrievalMeter(Protocol):
    """Where counts go."""

    def retrieved(self, surface: str, generator: str, num_candidates: int) -> None:
        """A generator returned so many candidates."""
        ...

    def degraded(self, component: str, reason: str) -> None:
        """A part of an answer was missing."""
        ...


class PinCopies(Protocol):
    """Where the live pins are kept for a start without their topic. Calls block: use a thread."""

    def keep(self, snapshot: PinSnapshot) -> None:
        """Replace the copy by these pins, whole or not at all. Raises: OSError."""
        ...

    def load(self) -> StoredPins | None:
        """The pins kept last; None when there are none. Raises: Corrupt."""
        ...


class IndexMeter(Protocol):
    """Where the state of the index is told."""

    def size(self, num_pins: int) -> None:
        """So many pins can be retrieved."""
        ...

    def refused(self, reason: str) -> None:
        """A pin or its vector was not taken."""
        ...

    def compacted(self, outcome: str) -> None:
        """A compaction ended."""
        ...

    def stale(self, is_stale: bool) -> None:
        """Whether the last-good copy serves."""
        ...
