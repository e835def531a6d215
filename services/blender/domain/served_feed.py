"""The record of one answered request: every candidate that entered, and what became of it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from services.blender.domain.candidate import Candidate, Degradation, InfluencingEvent
from services.blender.domain.candidates import Candidates, no_candidates

NOT_SERVED = -1


@dataclass(frozen=True, slots=True)
class Outcome:
    """One candidate's way. `removed_by` is the stage that left it out; empty = served at `position`."""

    candidate: Candidate
    position: int = NOT_SERVED
    removed_by: str = ""
    diversity_bonus: float = 0.0
    spacing_penalty: float = 0.0
    moved_by: str = ""
    reason_code: str = ""


@dataclass(frozen=True)
class LeftOut:
    """Candidates that were not served, and for each the stage that left it out."""

    candidates: Candidates = field(default_factory=no_candidates)
    removed_by: Sequence[str] = ()

    def __iter__(self) -> Iterator[Outcome]:
        return map(_left_out, self.candidates, self.removed_by)


def _left_out(candidate: Candidate, removed_by: str) -> Outcome:
    return Outcome(candidate, removed_by=removed_by)


@dataclass(frozen=True, slots=True)
class StageCount:
    """How many candidates came and left one stage."""

    stage: str
    num_in: int
    num_kept: int
    num_removed: int
    duration_ms: float
    fallback: str = ""


@dataclass(frozen=True)
class ServedFeed:
    """Every candidate that entered is in `served`, by position, or in `left_out`."""

    request_id: str
    user_id: str
    surface: str
    served_time_ms: int
    served: Sequence[Outcome]
    stages: Sequence[StageCount]
    versions: Mapping[str, str]
    degradations: Sequence[Degradation]
    sequence_version: int = 0
    trace_id: str = ""
    traceparent: str = ""
    subject_pin_id: str = ""
    query: str = ""
    locale: str = ""
    page: int = 0
    influencing_events: Sequence[InfluencingEvent] = ()
    seen: Sequence[int] = ()  # fingerprints of pins that retrieval was told to leave out
    blocked: Sequence[int] = ()
    left_out: LeftOut = field(default_factory=LeftOut)

    @property
    def outcomes(self) -> Sequence[Outcome]:
        """Of all candidates, one by one, the served ones first; slow."""
        return [*self.served, *self.left_out]
