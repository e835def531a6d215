"""Makes a few feeds that nobody gets before the door opens: the first ones of a process take many times as long.

Connections to the peers, caches of the libraries and the interpreter are cold then; on a busy machine the first feed
took longer than its deadline and held up those behind it.
"""

import asyncio
from collections.abc import Sequence
from time import perf_counter

from chassis.deadline import Deadline
from chassis.errors import CorkboardError
from chassis.logs import get_logger
from services.blender.app.catalogue import Catalogue
from services.blender.app.get_feed import GetFeed
from services.blender.domain.feed_request import FeedRequest

USER = "corkboard-rehearsal"  # nobody's name: it is never charged, logged or remembered
PAGE_SIZE = 25
MAX_FEEDS = 4
WITHIN_S = 3.0  # for all of them: peers that hang must not keep a process from serving
WARM_MS = 100.0  # a feed within it is as fast as the next ones will be


class Rehearsal:
    """A part that stands last: it needs everything that a feed needs. `get_feed` must neither charge, log nor
    remember."""

    name = "rehearsal"

    def __init__(self, get_feed: GetFeed, catalogue: Catalogue) -> None:
        self._get_feed, self._catalogue = get_feed, catalogue
        self.took_ms: Sequence[float] = ()

    async def start(self, tasks: asyncio.TaskGroup) -> None:  # noqa: ARG002 - nothing goes on afterwards
        """Feeds until one is quick or the time is over. A peer that is away never fails a start."""
        deadline = Deadline.after(WITHIN_S)
        took_ms: list[float] = []
        while len(took_ms) < MAX_FEEDS and deadline.remaining_s() > 0 and not (took_ms and took_ms[-1] < WARM_MS):
            started_s = perf_counter()
            try:
                await self._get_feed(self._request(), None, deadline)
            except CorkboardError as error:
                get_logger(__name__).info("rehearsal_ended_early", error=str(error))
                break
            took_ms.append(round((perf_counter() - started_s) * 1_000, 1))
        self.took_ms = took_ms
        get_logger(__name__).info("rehearsed", took_ms=took_ms)

    async def stop(self, deadline: Deadline) -> None:
        """Nothing to end."""

    def _request(self) -> FeedRequest:
        """Raises: Unavailable before any definitions."""
        return FeedRequest(USER, self._catalogue.open_surface, PAGE_SIZE)
