"""Stage: pins seen within the surface's window are not shown again, as long as there are others."""

from services.blender.app.feed_state import FeedState
from services.blender.domain.candidate import Degradation
from services.blender.domain.cursor import fingerprint
from services.blender.domain.filters import oldest_seen_first, split_named

NAME = "drop_seen"
RELAXED = Degradation("drop_seen", "exhausted", "seen_relaxed")


def drop_seen(state: FeedState) -> FeedState:
    """When everything is seen, one page of the pins seen the longest ago; never those of this session."""
    earlier = state.cursor.shown
    shown = {each for each in state.candidates.pin_ids if fingerprint(each) in earlier} if earlier else set()
    seen = shown.union(state.user.seen) if state.surface.seen_window_s else shown
    kept, removed = split_named(state.candidates, seen)
    if kept or not removed:
        return state.keep(kept, removed, NAME)
    page = oldest_seen_first(split_named(removed, shown)[0], state.user.seen)[: state.request.page_size]
    others, _ = split_named(removed, set(page.pin_ids))
    state = state.keep(page, others, NAME)
    return state.degrade(RELAXED) if page else state
