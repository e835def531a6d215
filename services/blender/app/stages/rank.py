"""Stage: the ranker's scores, while the features of the same pins are on their way."""

from dataclasses import replace

import numpy as np

from chassis.errors import Unavailable
from services.blender.app.feed_state import FeedState
from services.blender.domain.filters import split_named
from services.blender.domain.reasons import newest_cause
from services.blender.domain.scores import falling_evenly, in_order
from services.blender.ports import Ranker


class Rank:
    """Best first; equal scores in retrieval order, scores that are not finite last. Raises: Unavailable."""

    name = "rank"

    def __init__(self, ranker: Ranker) -> None:
        self._ranker = ranker

    async def __call__(self, state: FeedState) -> FeedState:
        ask_features(state)
        if not state.candidates:
            return state
        ranking = await self._ranker.rank(
            state.request, state.request_id, state.candidates, state.versions, state.user.history
        )
        candidates = in_order(state.candidates, ranking.scores, state.cursor.position)
        if not candidates:
            raise Unavailable(f"the ranker scored none of {len(state.candidates)} candidates", reason="exhausted")
        if not np.isfinite(candidates.score_N).any():
            raise Unavailable(f"none of the ranker's {len(candidates)} scores is a number", reason="internal")
        cause = newest_cause(ranking.influencing_events)
        if cause:
            state.prefetch.ask_unless_remembered([cause.pin_id])
        state = replace(
            state,
            versions={**state.versions, **ranking.versions},
            sequence_version=ranking.sequence_version,
            influencing_events=ranking.influencing_events,
        ).degrade(*ranking.degradations)
        unscored, _ = split_named(state.candidates, set(candidates.pin_ids))
        return state.keep(candidates, unscored, self.name)


def retrieval_order(state: FeedState) -> FeedState:
    """Fallback: scores that fall evenly in the order of retrieval."""
    ask_features(state)
    scores = falling_evenly(state.candidates.pin_ids)
    return replace(state, candidates=in_order(state.candidates, scores, state.cursor.position))


def ask_features(state: FeedState) -> None:
    """Of the candidates, and of the pins on the page before that still matter to spacing."""
    state.prefetch.ask([*state.candidates.pin_ids, *state.cursor.tail])
