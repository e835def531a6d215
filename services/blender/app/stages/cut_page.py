"""Stage: the page, why each pin is on it, and where the next one begins."""

from dataclasses import replace

from services.blender.app.feed_state import FeedState
from services.blender.domain.cursor import advance
from services.blender.domain.filters import split_named
from services.blender.domain.reasons import Reasons

NAME = "cut_page"


def cut_page(state: FeedState) -> FeedState:
    """What is left over stays in `candidates`; no next page when nothing is."""
    page = state.picks[: state.request.page_size]
    placed = {each.candidate.pin_id for each in page}
    rest, _ = split_named(state.candidates, placed)
    has_history = bool(state.sequence_version or state.user.sequence_version)
    reasons = Reasons(state.features, state.influencing_events, has_history=has_history)
    return replace(
        state,
        placed=[replace(each, reason_code=reasons.of(each.candidate)) for each in page],
        candidates=rest,
        next_cursor=advance(state.cursor, (each.candidate.pin_id for each in page)) if rest and page else None,
    )
