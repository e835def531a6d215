"""Stage of later pages: the ranked pool that the page before left over, in place of retrieving and ranking anew."""

from dataclasses import replace

from chassis.errors import NotFound
from services.blender.app.feed_state import FeedState


def restore(state: FeedState) -> FeedState:
    """Raises: NotFound without a session."""
    session = state.session
    if session is None:
        raise NotFound(f"session {state.cursor.session_id} is lost", reason="session_lost")
    state.prefetch.know(session.features)
    return replace(
        state,
        versions=session.versions,
        sequence_version=session.sequence_version,
        influencing_events=session.influencing_events,
    ).enter(session.pool)
