"""Stage: the served feed goes to the log and into memory; nobody waits for it."""

from chassis.clock import Clock
from chassis.tracing import current_trace_id, current_traceparent
from services.blender.app.feed_state import FeedState
from services.blender.app.served_memory import ServedMemory
from services.blender.app.stages import cut_page
from services.blender.app.stages.retrieve import MAX_EXCLUDED
from services.blender.domain.cursor import fingerprint
from services.blender.domain.filters import split_named
from services.blender.domain.served_feed import LeftOut, ServedFeed
from services.blender.ports import ServedLog


class Log:
    """Every candidate that entered is in the record exactly once."""

    name = "log"

    def __init__(self, served_log: ServedLog, served: ServedMemory, clock: Clock) -> None:
        self._log, self._served, self._clock = served_log, served, clock

    def __call__(self, state: FeedState) -> FeedState:
        self._served.remember(state.request, [each.candidate for each in state.placed])
        self._log.put(self._record(state))
        return state

    def _record(self, state: FeedState) -> ServedFeed:
        request = state.request
        return ServedFeed(
            request_id=state.request_id,
            user_id=request.user_id,
            surface=request.surface,
            served_time_ms=self._clock.now_ms(),
            served=state.placed,
            left_out=_left_out(state),
            stages=state.stages,
            versions=state.versions,
            degradations=state.degradations,
            sequence_version=state.sequence_version,
            trace_id=current_trace_id(),
            traceparent=current_traceparent(),
            subject_pin_id=request.subject_pin_id,
            query=request.query,
            locale=request.locale,
            page=state.cursor.page,
            influencing_events=state.influencing_events,
            seen=[fingerprint(pin_id) for pin_id in state.user.seen[-MAX_EXCLUDED:]],
            blocked=[fingerprint(pin_id) for pin_id in state.user.blocked],
        )


def _left_out(state: FeedState) -> LeftOut:
    """What the page left over, and what stages removed before."""
    _, dropped = split_named(state.entered, state.removed_by.keys())
    removed_by = [cut_page.NAME] * len(state.candidates) + [state.removed_by[each] for each in dropped.pin_ids]
    return LeftOut(state.candidates.followed_by(dropped), removed_by)
