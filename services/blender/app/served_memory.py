"""What this process showed to whom lately: bridges the second until the indexer knows, and the times it is away."""

from collections.abc import Sequence

from chassis.clock import Clock
from services.blender.app.recent import Recent
from services.blender.domain.candidate import Candidate
from services.blender.domain.feed_request import FeedRequest

MAX_PINS_PER_USER = 1_000  # the last shown ones; 20 pages of 50


class ServedMemory:
    """Shown pins and the last good feed of the last `num_users` pairs of user and surface."""

    def __init__(self, num_users: int, clock: Clock) -> None:
        self._clock = clock
        self._shown_by_user: Recent[tuple[str, str], dict[str, int]] = Recent(num_users)
        self._feed_by_request: Recent[tuple[str, str, str, str], Sequence[Candidate]] = Recent(num_users)

    def remember(self, request: FeedRequest, candidates: Sequence[Candidate]) -> None:
        """These were shown now."""
        if not candidates:
            return
        key = (request.user_id, request.surface)
        shown = self._shown_by_user.get(key) or {}
        now_ms = self._clock.now_ms()
        for each in candidates:
            shown.pop(each.pin_id, None)
            shown[each.pin_id] = now_ms
        for oldest in list(shown)[: max(0, len(shown) - MAX_PINS_PER_USER)]:
            del shown[oldest]
        self._shown_by_user.put(key, shown)
        self._feed_by_request.put(_feed_key(request), tuple(candidates))

    def shown(self, request: FeedRequest, window_s: int) -> list[str]:
        """Pins shown to this user on this surface within the window, oldest first."""
        since_ms = self._clock.now_ms() - window_s * 1_000
        shown = self._shown_by_user.get((request.user_id, request.surface)) or {}
        return [pin_id for pin_id, shown_ms in shown.items() if shown_ms >= since_ms]

    def last_feed(self, request: FeedRequest) -> Sequence[Candidate]:
        """The last page shown for the same question; empty when there was none."""
        return self._feed_by_request.get(_feed_key(request)) or ()


def _feed_key(request: FeedRequest) -> tuple[str, str, str, str]:
    return request.user_id, request.surface, request.subject_pin_id, request.query
