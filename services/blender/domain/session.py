"""What a paging session remembers between two pages."""

from collections.abc import Sequence
from dataclasses import dataclass

from services.blender.domain.candidate import InfluencingEvent
from services.blender.domain.candidates import Candidates
from services.blender.domain.pin_features import PinFeatures


@dataclass(frozen=True)
class Session:
    """The ranked pins that were not shown yet (best first), the features of those and of the tail, and the versions."""

    pool: Candidates
    features: PinFeatures
    versions: dict[str, str]
    sequence_version: int
    influencing_events: Sequence[InfluencingEvent]
