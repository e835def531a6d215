"""Stage: the ranker's scores, while the features of the same pins are on their way."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from chassis.errors import Unavailable
from services.blender.app.feed_state import FeedState
from services.blender.domain.candidate import Candidate
from services.blender.domain.reasons import newest_cause
from services.blender.ports import Ranker, Score


class Rank:
    """Best first; equal scores in retrieval order, scores that are not finite last. Raises: Unavailable."""

    name = "rank"

    def __init__(self, ranker: Ranker) -> None:
        self._ranker = ranker

    async def __call__(self, state: FeedState) -> FeedState:
        ask_features(state)
        if not state.candidates:
            return state
        ranking = await self._ranker.rank(state.request, state.request_id, state.candidates, state.versions)
        scored = [each for each in state.candidates if each.pin_id in ranking.scores]
        if not scored:
            raise Unavailable(f"the ranker scored none of {len(state.candidates)} candidates", reason="exhausted")
        if not any(math.isfinite(ranking.scores[each.pin_id].score) for each in scored):
            raise Unavailable(f"none of the ranker's {len(scored)} scores is a number", reason="internal")
        cause = newest_cause(ranking.influencing_events)
        if cause:
            state.prefetch.ask_unless_remembered([cause.pin_id])
        state = replace(
            state,
            versions={**state.versions, **ranking.versions},
            sequence_version=ranking.sequence_version,
            influencing_events=ranking.influencing_events,
        ).degrade(*ranking.degradations)
        unscored = [each for each in state.candidates if each.pin_id not in ranking.scores]
        return state.keep(in_order(scored, ranking.scores, state.cursor.position), unscored, self.name)


def retrieval_order(state: FeedState) -> FeedState:
    """Fallback: scores that fall evenly in the order of retrieval."""
    ask_features(state)
    num_all = max(1, len(state.candidates))
    scores = {each.pin_id: Score(1.0 - place / num_all, {}) for place, each in enumerate(state.candidates)}
    return replace(state, candidates=in_order(state.candidates, scores, state.cursor.position))


def ask_features(state: FeedState) -> None:
    """Of the candidates, and of the pins on the page before that still matter to spacing."""
    state.prefetch.ask([*(each.pin_id for each in state.candidates), *state.cursor.tail])


def in_order(candidates: Sequence[Candidate], scores: Mapping[str, Score], first_place: int) -> list[Candidate]:
    """By falling score; `first_place` is the session's first free position."""

    def by_score(candidate: Candidate) -> float:
        score = scores[candidate.pin_id].score
        return -score if math.isfinite(score) else math.inf

    return [
        each.ranked(*scores[each.pin_id], rank_by_score=first_place + place)
        for place, each in enumerate(sorted(candidates, key=by_score))
    ]
