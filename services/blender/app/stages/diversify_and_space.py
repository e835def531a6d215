"""Stage: the slate, in which relevance, newness and distance are weighed slot by slot."""

from collections.abc import Sequence
from dataclasses import replace

from chassis.deadline import current_deadline
from services.blender.app.feed_state import FeedState
from services.blender.app.slate_loop import SlateLoop
from services.blender.app.stages.rank import ask_features
from services.blender.domain.greedy import Greedy
from services.blender.domain.page_slate import page_slate
from services.blender.domain.pin_features import PinFeatures
from services.blender.domain.served_feed import Outcome
from services.blender.domain.slate import Slate

WAIT_SHARE = 0.5  # of the time left, for features that are still on their way


class DiversifyAndSpace:
    """One page of picks. Without features the order is that of relevance, and that is named."""

    name = "diversify_and_space"

    def __init__(self, slates: SlateLoop) -> None:
        self._slates = slates

    async def __call__(self, state: FeedState) -> FeedState:
        if not state.candidates:
            return state
        ask_features(state)
        features, degradations = await state.prefetch.result(current_deadline(0.0).remaining_s() * WAIT_SHARE)
        state = replace(state, features=features).degrade(*degradations)
        return replace(state, picks=_outcomes(state, make_slate(state, features, self._slates.loop)))


def relevance_order(state: FeedState) -> FeedState:
    """Fallback: the best scores in order."""
    picks = [
        Outcome(each, position=state.cursor.position + place)
        for place, each in enumerate(state.candidates[: state.request.page_size])
    ]
    return replace(state, picks=picks)


def make_slate(state: FeedState, features: PinFeatures, loop: Greedy) -> Slate:
    """Pure: the picks for one page."""
    return page_slate(
        dict(zip(state.candidates.pin_ids, state.candidates.score_N.tolist(), strict=True)),
        features,
        state.surface,
        state.spacing,
        state.request.page_size,
        tail=state.cursor.tail,
        position=state.cursor.position,
        loop=loop,
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
