"""A bounded cache in front of the pin feature store, shared by all requests of the root."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence

from chassis.clock import Clock
from chassis.deadline import Deadline
from chassis.metrics import Metrics
from services.ranker.domain.ranking import PinFeatures
from services.ranker.ports import PinFeatureStore


class CachedPinFeatures:
    """Least recently used pins leave first; an entry is good for `max_age_s`. Unknown pins are not remembered."""

    def __init__(
        self, store: PinFeatureStore, metrics: Metrics, clock: Clock, *, max_pins: int, max_age_s: float
    ) -> None:
        self._store = store
        self._clock = clock
        self._max_pins = max_pins
        self._max_age_s = max_age_s
        self._entries: OrderedDict[str, tuple[float, PinFeatures]] = OrderedDict()
        self._lookups = metrics.counter("pin_cache_lookups_total", "Pins looked up, by outcome.", ("outcome",))

    async def features(self, pin_ids: Sequence[str], deadline: Deadline) -> Mapping[str, PinFeatures]:
        """As the store's; asks it only for pins that are not cached. Raises: what the store raises."""
        now_s = self._clock.monotonic_s()
        found = {pin_id: features for pin_id in pin_ids if (features := self._fresh(pin_id, now_s)) is not None}
        missing = [pin_id for pin_id in pin_ids if pin_id not in found]
        self._lookups.labels("hit").inc(len(found))
        self._lookups.labels("miss").inc(len(missing))
        if not missing:
            return found
        fetched = await self._store.features(missing, deadline)
        for pin_id, features in fetched.items():
            self._entries[pin_id] = (now_s + self._max_age_s, features)
        while len(self._entries) > self._max_pins:
            self._entries.popitem(last=False)
        return {**found, **fetched}

    def _fresh(self, pin_id: str, now_s: float) -> PinFeatures | None:
        entry = self._entries.get(pin_id)
        if entry is None or entry[0] < now_s:
            return None
        self._entries.move_to_end(pin_id)
        return entry[1]
