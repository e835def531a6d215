"""A pin on its way through the stages of one feed."""

from collections.abc import Mapping
from dataclasses import dataclass, field

POPULAR = "popular"


@dataclass(frozen=True, slots=True)
class Candidate:
    """One pin that may be shown. `score` and `score_by_head` are the ranker's; before ranking they are empty."""

    pin_id: str
    generator: str
    retrieval_score: float
    retrieval_rank: int
    score_by_generator: Mapping[str, float] = field(default_factory=dict)
    content_group: str = ""
    score: float = 0.0
    score_by_head: Mapping[str, float] = field(default_factory=dict)
    rank_by_score: int = -1  # 0-based in the ranked pool; -1 = not ranked


@dataclass(frozen=True, slots=True)
class InfluencingEvent:
    """A recent event of the user that shaped the ranking."""

    event_id: str
    event_type: str
    pin_id: str
    event_time_ms: int
    traceparent: str


@dataclass(frozen=True, slots=True)
class Degradation:
    """What was missing, why (a machine word), and what was served instead."""

    component: str
    reason: str
    level: str
