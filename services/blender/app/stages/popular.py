"""Fallbacks of retrieve: what is known without cg, the best first."""

from chassis.errors import Unavailable
from services.blender.app.feed_state import FeedState
from services.blender.app.popular_memory import PopularMemory
from services.blender.app.served_memory import ServedMemory


class Popular:
    """The popular list of the locale. Raises: Unavailable when no list was ever seen."""

    name = "popular"

    def __init__(self, popular: PopularMemory) -> None:
        self._popular = popular

    def __call__(self, state: FeedState) -> FeedState:
        candidates = self._popular.deal(state.request.locale, state.cursor.seed)
        if not candidates:
            raise Unavailable("no popular list is known yet", reason="exhausted")
        return state.enter(candidates)


class LastGoodFeed:
    """What this person was shown last on this surface. Raises: Unavailable when nothing was."""

    name = "last_good_feed"

    def __init__(self, served: ServedMemory) -> None:
        self._served = served

    def __call__(self, state: FeedState) -> FeedState:
        candidates = self._served.last_feed(state.request)
        if not candidates:
            raise Unavailable("no earlier feed of this user is known", reason="exhausted")
        return state.enter(candidates)


def empty(state: FeedState) -> FeedState:
    """The last rung: an answer with nothing in it, named so."""
    return state.enter([])
