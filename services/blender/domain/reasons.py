"""Why a pin is in the feed, as a code that a surface can turn into words."""

from collections.abc import Sequence

import numpy as np

from services.blender.domain.candidate import POPULAR, Candidate, InfluencingEvent
from services.blender.domain.pin_features import PinFeatures

NEAR_COSINE = 0.7  # content vectors of one topic lie closer than this, of different topics farther
REASON_BY_GENERATOR = {
    "related": "related_to_subject",
    "fresh": "fresh",
    POPULAR: "popular",
}
BECAUSE_BY_EVENT = {"save": "because_you_saved", "click": "because_you_clicked", "share": "because_you_shared"}
FROM_HISTORY = "similar_to_your_history"


def newest_cause(events: Sequence[InfluencingEvent]) -> InfluencingEvent | None:
    """The newest event that a person would recognise as a cause."""
    return next((event for event in events if event.event_type in BECAUSE_BY_EVENT), None)


class Reasons:
    """Gives each item its code: what the person just did comes before where the pin came from."""

    def __init__(self, features: PinFeatures, events: Sequence[InfluencingEvent], *, has_history: bool) -> None:
        newest = newest_cause(events)
        self._features = features
        self._because = BECAUSE_BY_EVENT[newest.event_type] if newest else ""
        self._topic = features.topic_of(newest.pin_id) if newest else ""
        self._vector_1D = features.vectors_of([newest.pin_id] if newest else [])
        self._has_history = has_history

    def of(self, candidate: Candidate) -> str:
        """The reason code of one item."""
        if candidate.generator == "related":
            return REASON_BY_GENERATOR["related"]
        if self._because and self._is_near(candidate.pin_id):
            return self._because
        if candidate.generator in REASON_BY_GENERATOR:
            return REASON_BY_GENERATOR[candidate.generator]
        return FROM_HISTORY if self._has_history else POPULAR

    def _is_near(self, pin_id: str) -> bool:
        if self._topic and self._topic == self._features.topic_of(pin_id):
            return True
        vector_1D = self._features.vectors_of([pin_id])
        lengths = float(np.linalg.norm(vector_1D) * np.linalg.norm(self._vector_1D))
        return lengths > 0 and float((vector_1D * self._vector_1D).sum()) >= NEAR_COSINE * lengths
