"""Stage: what the person saw and blocked."""

from collections.abc import Iterable
from dataclasses import replace

from services.blender.app.feed_state import FeedState
from services.blender.app.served_memory import ServedMemory
from services.blender.ports import User, UserSource


class HydrateUser:
    """The indexer's word, and on top what this process showed since: the indexer learns of it within two seconds."""

    name = "hydrate_user"

    def __init__(self, users: UserSource, served: ServedMemory) -> None:
        self._users, self._served = users, served

    async def __call__(self, state: FeedState) -> FeedState:
        user = await self._users.get_user(state.request.user_id, state.surface.name)
        state = _with_user(state, user, self._served)
        if state.request.locale or "locale" not in user.profile:
            return state
        return replace(state, request=replace(state.request, locale=user.profile["locale"]))


class SessionSeenOnly:
    """Fallback: only what this process showed is known."""

    name = "session_seen_only"

    def __init__(self, served: ServedMemory) -> None:
        self._served = served

    def __call__(self, state: FeedState) -> FeedState:
        return _with_user(state, User(), self._served)


def _with_user(state: FeedState, user: User, served: ServedMemory) -> FeedState:
    shown = served.shown(state.request, state.surface.seen_window_s)
    return replace(state, user=replace(user, seen=_latest_once([*user.seen, *shown])))


def _latest_once(pin_ids: Iterable[str]) -> list[str]:
    """Each pin once, at the place of its last occurrence."""
    order: dict[str, None] = {}
    for pin_id in pin_ids:
        order.pop(pin_id, None)
        order[pin_id] = None
    return list(order)
