"""Stage: the session that a later page belongs to."""

from dataclasses import replace

from services.blender.app.feed_state import FeedState
from services.blender.ports import SessionStore


class FindSession:
    """What the page is cut from. Raises: NotFound when the session expired, Unavailable when the store is away."""

    name = "find_session"

    def __init__(self, sessions: SessionStore) -> None:
        self._sessions = sessions

    async def __call__(self, state: FeedState) -> FeedState:
        return replace(state, session=await self._sessions.load(state.cursor.session_id, state.cursor.page))
