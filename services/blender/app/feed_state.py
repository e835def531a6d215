"""What the stages of one feed hand to each other; never changed, only replaced."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from sequences.definitions.spacing_class import SpacingClass
from sequences.definitions.surface import Surface
from services.blender.app.feature_prefetch import FeaturePrefetch
from services.blender.domain.candidate import Candidate, Degradation, InfluencingEvent
from services.blender.domain.candidates import Candidates, no_candidates
from services.blender.domain.cursor import Cursor
from services.blender.domain.feed_request import FeedRequest
from services.blender.domain.pin_features import PinFeatures, no_features
from services.blender.domain.served_feed import Outcome, StageCount
from services.blender.domain.session import Session
from services.blender.ports import User


@dataclass(frozen=True)
class FeedState:
    """`candidates` is what the next stage gets; `entered` is everything that ever came in."""

    request: FeedRequest
    surface: Surface
    spacing: Sequence[SpacingClass]
    request_id: str
    cursor: Cursor
    prefetch: FeaturePrefetch
    session: Session | None = None
    user: User = field(default_factory=User)
    candidates: Candidates = field(default_factory=no_candidates)
    entered: Candidates = field(default_factory=no_candidates)
    removed_by: Mapping[str, str] = field(default_factory=dict)
    features: PinFeatures = field(default_factory=no_features)
    picks: Sequence[Outcome] = ()  # the slate
    placed: Sequence[Outcome] = ()  # the page, in order
    next_cursor: Cursor | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    degradations: Sequence[Degradation] = ()
    sequence_version: int = 0
    influencing_events: Sequence[InfluencingEvent] = ()
    stages: Sequence[StageCount] = ()

    def enter(self, candidates: Sequence[Candidate]) -> "FeedState":
        """The candidates that the next stages work on."""
        columns = Candidates.of(candidates)
        return replace(self, candidates=columns, entered=columns)

    def keep(self, kept: Candidates, removed: Candidates, stage: str) -> "FeedState":
        """Go on with `kept`; remember which stage removed the others."""
        if not removed:
            return replace(self, candidates=kept)
        removed_by = {**self.removed_by, **dict.fromkeys(removed.pin_ids, stage)}
        return replace(self, candidates=kept, removed_by=removed_by)

    def degrade(self, *degradations: Degradation) -> "FeedState":
        """Name what is missing."""
        return replace(self, degradations=(*self.degradations, *degradations))


def num_candidates(state: FeedState) -> int:
    """What a stage is counted by: the items of the page once it is cut, the candidates before."""
    return len(state.placed) if state.placed else len(state.candidates)
