"""Asks again, in the background, for pins that are in use and no longer young: rankings seldom wait for them."""

from collections.abc import Sequence

from chassis.ageing_refresh import AgeingRefresh
from chassis.clock import Clock
from chassis.deadline import Deadline
from chassis.metrics import Metrics
from services.ranker.outbound.in_memory_pin_cache import CachedPinFeatures

WITHIN_S = 2.0  # nobody waits for it


class PinRefresh(AgeingRefresh):
    """Of the pins that the cache keeps."""

    def __init__(self, cache: CachedPinFeatures, clock: Clock, metrics: Metrics) -> None:
        async def fetch(pin_ids: Sequence[str]) -> None:
            await cache.fetch(pin_ids, Deadline.after(WITHIN_S, clock))

        refreshes = metrics.counter("pin_cache_refreshes_total", "Pins asked for again.", ("outcome",))
        super().__init__("pin refresh", cache.take_ageing, fetch, refreshes, clock)
