"""A published pin on its way through enrichment."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class PublishedPin:
    """What enrichment reads of a pin; `payload` are the published bytes, passed on as they are."""

    pin_id: str
    payload: bytes
    title: str = ""
    description: str = ""
    topics: Sequence[str] = ()
    locale: str = ""
    created_time_ms: int = 0
    image: bytes = b""
    given_vector: Sequence[float] | None = None
    has_link: bool = False
    has_picture: bool = False
    quality: Mapping[str, float] = field(default_factory=dict)
    safety_labels: Sequence[str] = ()


@dataclass(frozen=True)
class EnrichedPin:
    """A pin with what was computed for it; `content_vector` [D] has unit length, `semantic_id` is coarse to fine."""

    published: PublishedPin
    content_vector: Sequence[float]
    content_vector_version: str
    quality_score: float
    enriched_time_ms: int
    definitions_version: str
    semantic_id: Sequence[int] = ()
