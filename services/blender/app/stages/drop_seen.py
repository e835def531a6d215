"""Stage: pins seen within the surface's window are not shown again, as long as there are others."""

from services.blender.app.feed_state import FeedState
from services.blender.domain.candidate import Degradation
from services.blender.domain.cursor import fingerprint
from services.blender.domain.filters import oldest_seen_first, split_seen

NAME = "drop_seen"
RELAXED = Degradation("drop_seen", "exhausted", "seen_relaxed")


def drop_seen(state: FeedState) -> FeedState:
    """When everything is seen, one page of the pins seen the longest ago; never those of this session."""
    shown = {each.pin_id for each in state.candidates if fingerprint(each.pin_id) in state.cursor.shown}
    seen = shown.union(state.user.seen) if state.surface.seen_window_s else shown
    kept, removed = split_seen(state.candidates, seen)
    if kept or not removed:
        return state.keep(kept, removed, NAME)
    again = oldest_seen_first([each for each in removed if each.pin_id not in shown], state.user.seen)
    page = again[: state.request.page_size]
    if not page:
        return state.keep([], removed, NAME)
    chosen = {each.pin_id for each in page}
    return state.keep(page, [each for each in removed if each.pin_id not in chosen], NAME).degrade(RELAXED)
