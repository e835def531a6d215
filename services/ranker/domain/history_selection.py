"""Which events of a long history a model is given: the newest, and of the older ones those nearest to the candidates.

As TransAct V2 (arXiv 2506.02267) does for lifelong histories. Shapes: O older events, C candidates, W content width.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from modeling.arrays import Floats
from services.ranker.domain.candidates import Candidates, RankCandidate
from services.ranker.domain.ranking import PinFeatures, SequenceEvent


def select_events(
    events: Sequence[SequenceEvent],
    candidates: Sequence[RankCandidate],
    pins: Mapping[str, PinFeatures],
    *,
    max_events: int,
    num_newest: int,
) -> Sequence[SequenceEvent]:
    """At most `max_events`, oldest first. Among older events of the same nearness, or whose pin is not known, the newer
    ones stay."""
    if len(events) <= max_events:
        return events
    num_newest = min(num_newest, max_events)
    older, newest = events[: len(events) - num_newest], events[len(events) - num_newest :]
    nearness_O = _nearness([event.pin_id for event in older], Candidates.of(candidates).pin_ids, pins)
    age_rank_O = np.arange(len(older), 0, -1)
    nearest = np.lexsort((age_rank_O, -nearness_O))[: max_events - num_newest]
    return [*(older[row] for row in np.sort(nearest)), *newest]


def _nearness(older: Sequence[str], candidates: Sequence[str], pins: Mapping[str, PinFeatures]) -> Floats:
    """Cosine of each older pin to the candidate that is nearest to it [O]; -1 where a vector is not known."""
    nearness_O = np.full(len(older), -1.0, dtype=np.float32)
    known = [row for row, pin_id in enumerate(older) if _vector(pins, pin_id) is not None]
    candidate_CW = _unit([vector for pin_id in candidates if (vector := _vector(pins, pin_id)) is not None])
    older_OW = _unit([vector for row in known if (vector := _vector(pins, older[row])) is not None])
    if len(known) and len(candidate_CW) and older_OW.shape[1] == candidate_CW.shape[1]:
        nearness_O[known] = (older_OW @ candidate_CW.T).max(axis=1)
    return nearness_O


def _vector(pins: Mapping[str, PinFeatures], pin_id: str) -> Floats | None:
    pin = pins.get(pin_id)
    return pin.content_vector if pin else None


def _unit(vectors: Sequence[Floats]) -> Floats:
    """Rows of length 1 [N, W]; vectors of another width than the first are left out by a zero row."""
    if not vectors:
        return np.zeros((0, 0), dtype=np.float32)
    width = len(vectors[0])
    rows = np.stack([v if len(v) == width else np.zeros(width, np.float32) for v in vectors])
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12), dtype=np.float32)
