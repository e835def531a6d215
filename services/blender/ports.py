"""What blender needs from the world, in its own words.

Every call ends by the deadline of the stage it is made in. All raise: Unavailable, DeadlineExceeded, Overloaded.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from services.blender.domain.candidate import Candidate, Degradation, InfluencingEvent
from services.blender.domain.candidates import Candidates
from services.blender.domain.feed_request import FeedRequest
from services.blender.domain.pin_features import PinFeatures
from services.blender.domain.scores import Scores
from services.blender.domain.served_feed import ServedFeed
from services.blender.domain.session import Session


@dataclass(frozen=True)
class User:
    """What is known of a person; for an unknown one all is empty. `seen` holds the pins seen last at the end."""

    seen: Sequence[str] = ()
    blocked: Sequence[str] = ()
    profile: Mapping[str, str] = field(default_factory=dict)
    sequence_version: int = 0
    history: bytes = b""  # as the indexer wrote it, for cg and the ranker; empty = they read it themselves


@dataclass(frozen=True)
class Retrieved:
    """Unique candidates, best first."""

    candidates: Candidates
    versions: Mapping[str, str]
    degradations: Sequence[Degradation] = ()


@dataclass(frozen=True)
class Ranking:
    """Scores of pins; a pin may be missing."""

    scores: Scores
    versions: Mapping[str, str]
    degradations: Sequence[Degradation] = ()
    sequence_version: int = 0
    influencing_events: Sequence[InfluencingEvent] = ()


class UserSource(Protocol):
    """People as the indexer knows them."""

    async def get_user(self, user_id: str, surface: str) -> User:
        """Seen pins are those of the surface's window. An unknown user is an empty one."""
        ...


class PinSource(Protocol):
    """Features of pins."""

    async def get_pins(self, pin_ids: Sequence[str]) -> PinFeatures:
        """One row per known pin, in any number; unknown ones are left out."""
        ...


class CandidateSource(Protocol):
    """Where candidates come from."""

    async def retrieve(
        self, request: FeedRequest, num_candidates: int, exclude: Sequence[str], history: bytes
    ) -> Retrieved:
        """May be fewer than asked, also none."""
        ...

    async def popular(self, surface: str, locale: str, num_candidates: int) -> Sequence[Candidate]:
        """What most people of a locale like, best first; nobody's history is used."""
        ...


class PopularCopies(Protocol):
    """Where popular lists outlive the process. Calls block: use a thread."""

    def keep(self, lists: Mapping[str, Sequence[Candidate]]) -> None:
        """Replace the copy by these lists by locale, whole or not at all. Raises: OSError."""
        ...

    def load(self) -> Mapping[str, Sequence[Candidate]]:
        """The lists kept last; empty when there are none. Raises: Corrupt."""
        ...


class Ranker(Protocol):
    """Scores candidates for a user."""

    async def rank(
        self,
        request: FeedRequest,
        request_id: str,
        candidates: Candidates,
        versions: Mapping[str, str],
        history: bytes,
    ) -> Ranking:
        """Scores of the candidates, in retrieval order given; `versions` is what they were made with, for logs."""
        ...


class SessionStore(Protocol):
    """Paging sessions, for minutes."""

    async def load(self, session_id: str, page: int) -> Session:
        """What page `page` is cut from. Raises: NotFound when it expired or is damaged."""
        ...

    async def save(self, session_id: str, page: int, session: Session) -> None:
        """Keep it; the same page again replaces it."""
        ...


class ExplanationStore(Protocol):
    """Served feeds that the log kept, for a day."""

    async def load(self, request_id: str) -> ServedFeed:
        """Raises: NotFound."""
        ...


class ServedLog(Protocol):
    """Takes what was served, off the path of the answer."""

    def put(self, feed: ServedFeed) -> None:
        """Never waits and never fails; what cannot be taken is counted."""
        ...
