"""What candidate generation needs from the world."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from chassis.deadline import Deadline
from services.cg.domain.pin_index import PinSnapshot
from services.cg.domain.retrieval import Generated, HistoryEvent, RetrievalQuery, StoredVector, SurfacePlan


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
