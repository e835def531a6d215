"""Stage: what the next page will be cut from."""

from services.blender.app.feed_state import FeedState
from services.blender.domain.reasons import newest_cause
from services.blender.domain.session import Session
from services.blender.ports import SessionStore


class KeepSession:
    """Saves the ranked pins that were not shown. Raises: Unavailable; then the next page takes a fresh pool."""

    name = "keep_session"

    def __init__(self, sessions: SessionStore) -> None:
        self._sessions = sessions

    async def __call__(self, state: FeedState) -> FeedState:
        cursor = state.next_cursor
        if cursor is None:
            return state
        cause = newest_cause(state.influencing_events)
        needed = [*state.candidates.pin_ids, *cursor.tail, *([cause.pin_id] if cause else [])]
        session = Session(
            pool=state.candidates,
            features=state.features.select(dict.fromkeys(needed)),
            versions=dict(state.versions),
            sequence_version=state.sequence_version,
            influencing_events=state.influencing_events,
        )
        await self._sessions.save(cursor.session_id, cursor.page, session)
        return state
