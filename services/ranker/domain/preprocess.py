"""Candidates, events and pin features as the named tensors of a model.

Shapes: L history events (oldest first), C candidates, W content width.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from modeling.arrays import AnyArray, Floats
from modeling.hashing import stable_hashes
from services.ranker.domain.candidates import Candidates, RankCandidate
from services.ranker.domain.features import (
    EVENT_TYPE_ROW,
    GENERATORS,
    NO_SCORE,
    SURFACE_ROW,
    UNKNOWN_AGE_S,
    score_name,
)
from services.ranker.domain.ranking import PinFeatures, SequenceEvent

MICROS = 1e6


def build_tensors(
    candidates: Sequence[RankCandidate],
    events: Sequence[SequenceEvent],
    pins: Mapping[str, PinFeatures],
    now_ms: int,
    surface: str = "",
) -> dict[str, AnyArray]:
    """Every tensor the root can make; a content vector nobody knows is NaN and takes its default at the leaf."""
    columns = Candidates.of(candidates)
    candidate_pins = [pins.get(pin_id) for pin_id in columns.pin_ids]
    history_pins = [pins.get(event.pin_id) for event in events]
    width = _width(pins)
    tensors: dict[str, AnyArray] = {
        "history_pin": stable_hashes(event.pin_id for event in events),
        "history_content": _content(history_pins, width),
        "history_event_type": np.asarray([EVENT_TYPE_ROW.get(e.event_type, 0) for e in events], dtype=np.int64),
        "history_age_s": np.asarray([max(0, now_ms - e.event_time_ms) / 1_000.0 for e in events], dtype=np.float32),
        "candidate_pin": stable_hashes(columns.pin_ids),
        "candidate_content": _content(candidate_pins, width),
        "candidate_age_s": np.asarray([_age_s(pin, now_ms) for pin in candidate_pins], dtype=np.float32),
        "candidate_price": np.asarray([_price(pin) for pin in candidate_pins], dtype=np.float32),
    }
    tensors["surface"] = np.full(len(columns), SURFACE_ROW.get(surface, 0), dtype=np.int64)
    with np.errstate(over="ignore"):  # beyond float32 is infinite, and takes its default at the leaf
        score_CG = np.nan_to_num(columns.score_by_generator_CG, nan=NO_SCORE, posinf=np.inf, neginf=-np.inf).astype(
            np.float32
        )
    absent_C = np.full(len(columns), NO_SCORE, dtype=np.float32)
    score_by_generator = dict(zip(columns.generators, np.ascontiguousarray(score_CG.T), strict=True))
    return tensors | {score_name(each): score_by_generator.get(each, absent_C) for each in GENERATORS}


def _age_s(pin: PinFeatures | None, now_ms: int) -> float:
    if pin is None or not pin.created_time_ms:
        return UNKNOWN_AGE_S
    return max(0, now_ms - pin.created_time_ms) / 1_000.0


def _price(pin: PinFeatures | None) -> float:
    return pin.price_micros / MICROS if pin else 0.0


def _width(pins: Mapping[str, PinFeatures]) -> int:
    return next((len(pin.content_vector) for pin in pins.values() if pin.content_vector is not None), 0)


def _content(pins: Sequence[PinFeatures | None], width: int) -> Floats:
    unknown_W = np.full(width, np.nan, dtype=np.float32)
    vectors = [unknown_W if pin is None or pin.content_vector is None else pin.content_vector for pin in pins]
    if not vectors:
        return np.zeros((0, width), dtype=np.float32)
    return np.stack([each if len(each) == width else unknown_W for each in vectors])
