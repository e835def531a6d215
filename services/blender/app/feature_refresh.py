"""Asks again, in the background, for features that are in use and no longer young: feeds seldom wait for them."""

from collections.abc import Sequence

from chassis.ageing_refresh import AgeingRefresh
from chassis.clock import Clock
from chassis.metrics import Metrics
from services.blender.app.feature_memory import FeatureMemory
from services.blender.ports import PinSource


class FeatureRefresh(AgeingRefresh):
    """Of the pins that the memory keeps."""

    def __init__(self, source: PinSource, memory: FeatureMemory, clock: Clock, metrics: Metrics) -> None:
        async def fetch(pin_ids: Sequence[str]) -> None:
            memory.remember(await source.get_pins(pin_ids))

        refreshes = metrics.counter("blender_feature_refreshes_total", "Pins asked for again.", ("outcome",))
        super().__init__("feature refresh", memory.take_ageing, fetch, refreshes, clock)
