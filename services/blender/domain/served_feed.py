"""The record of one answered request: every candidate that entered, and what became of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.blender.domain.candidate import Candidate, Degradation, InfluencingEvent

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
    """`outcomes` hold the served ones first, by position."""

    request_id: str
    user_id: str
    surface: str
    served_time_ms: int
    outcomes: Sequence[Outcome]
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
