"""Stage: the slate, in which relevance, newness and distance are weighed slot by slot."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from chassis.deadline import current_deadline
from services.blender.app.feed_state import FeedState
from services.blender.app.stages.rank import ask_features
from services.blender.domain.diversity import SpectrumWindow
from services.blender.domain.pin_features import PinFeatures
from services.blender.domain.served_feed import Outcome
from services.blender.domain.slate import Slate, fill
from services.blender.domain.spacing_rules import rules_for

NAME = "diversify_and_space"
WAIT_SHARE = 0.5  # of the time left, for features that are still on their way


async def diversify_and_space(state: FeedState) -> FeedState:
    """One page of picks. Without features the order is that of relevance, and that is named."""
    if not state.candidates:
        return state
    ask_features(state)
    features, degradations = await state.prefetch.result(current_deadline(0.0).remaining_s() * WAIT_SHARE)
    state = replace(state, features=features).degrade(*degradations)
    return replace(state, picks=_outcomes(state, make_slate(state, features)))


def relevance_order(state: FeedState) -> FeedState:
    """Fallback: the best scores in order."""
    picks = [
        Outcome(each, position=state.cursor.position + place)
        for place, each in enumerate(state.candidates[: state.request.page_size])
    ]
    return replace(state, picks=picks)


def make_slate(state: FeedState, features: PinFeatures) -> Slate:
    """Pure: the picks for one page."""
    pin_ids = [each.pin_id for each in state.candidates]
    tail = [pin_id for pin_id in state.cursor.tail if pin_id in features.row_by_pin]
    spectrum = SpectrumWindow(features.vectors_of(pin_ids), state.surface.diversity_window)
    spectrum.place_tail(features.vectors_of(tail))
    return fill(
        np.array([each.score for each in state.candidates], dtype=np.float64),
        spectrum,
        state.surface.diversity_weight,
        rules_for(state.spacing, features, pin_ids, tail),
        state.request.page_size,
    )


def _outcomes(state: FeedState, slate: Slate) -> Sequence[Outcome]:
    first = state.cursor.position
    columns = zip(slate.order_T.tolist(), slate.bonus_T.tolist(), slate.penalty_T.tolist(), slate.moved_by, strict=True)
    outcomes = []
    for place, (index, bonus, penalty, moved_by) in enumerate(columns):
        candidate = state.candidates[index]
        is_moved = candidate.rank_by_score != first + place
        outcomes.append(
            Outcome(
                candidate,
                position=first + place,
                diversity_bonus=bonus,
                spacing_penalty=penalty,
                moved_by=moved_by if is_moved else "",
            )
        )
    return outcomes
