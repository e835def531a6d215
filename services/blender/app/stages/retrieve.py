"""Stage: candidates from every generator of the surface."""

from dataclasses import replace

from chassis.errors import Unavailable
from services.blender.app.feed_state import FeedState
from services.blender.app.popular_memory import PopularMemory
from services.blender.ports import CandidateSource, Retrieved

MAX_EXCLUDED = 2_000  # pins named in one call, the newest ones; drop_seen removes the others


class Retrieve:
    """Unseen candidates; when everything is seen, seen ones. Raises: Unavailable when there are none at all."""

    name = "retrieve"

    def __init__(self, source: CandidateSource, popular: PopularMemory) -> None:
        self._source, self._popular = source, popular

    async def __call__(self, state: FeedState) -> FeedState:
        request = state.request
        self._popular.want(request.locale)
        found = await self._search(state)
        if not found.candidates:
            raise Unavailable(f"no candidates for surface {request.surface}", reason="exhausted")
        candidates = found.candidates.unique()
        self._popular.learn(request.locale, candidates)
        versions = {**state.versions, **found.versions}
        return replace(state, versions=versions).degrade(*found.degradations).enter(candidates)

    async def _search(self, state: FeedState) -> Retrieved:
        never = [*state.user.blocked, *([state.request.subject_pin_id] if state.request.subject_pin_id else [])]
        exclude = [*never, *state.user.seen][-MAX_EXCLUDED:]
        history = state.user.history
        found = await self._source.retrieve(state.request, state.surface.pool_size, exclude, history)
        if found.candidates or not state.user.seen:
            return found
        return await self._source.retrieve(state.request, state.surface.pool_size, never[-MAX_EXCLUDED:], history)
