"""Stage: pins the person hid or reported, the subject itself, and near-duplicates of better candidates."""

from services.blender.app.feed_state import FeedState
from services.blender.domain.filters import split_blocked

NAME = "drop_blocked"


def drop_blocked(state: FeedState) -> FeedState:
    """Never relaxed."""
    kept, removed = split_blocked(state.candidates, {*state.user.blocked, state.request.subject_pin_id})
    return state.keep(kept, removed, NAME)
