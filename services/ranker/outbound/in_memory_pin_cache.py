"""A bounded cache in front of the pin feature store, shared by all requests of the root."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice

from chassis.clock import Clock
from chassis.deadline import Deadline
from chassis.metrics import Metrics
from services.ranker.domain.ranking import PinFeatures
from services.ranker.ports import PinFeatureStore

REFRESH_SHARE = 0.5  # of the age that an entry is good for; in use beyond it, a pin is due to be asked for anew


class CachedPinFeatures:
    """Least recently used pins leave first; an entry is good for `max_age_s`. Unknown pins are not remembered.

    A vector is kept as a copy: as it comes it is a part of its answer, which it would hold in memory whole.
    """

    def __init__(
        self, store: PinFeatureStore, metrics: Metrics, clock: Clock, *, max_pins: int, max_age_s: float
    ) -> None:
        self._store = store
        self._clock = clock
        self._max_pins = max_pins
        self._max_age_s = max_age_s
        self._entries: OrderedDict[str, tuple[float, PinFeatures]] = OrderedDict()
        self._ageing: dict[str, None] = {}  # in use and no longer young
        self._num_bytes = 0
        self._lookups = metrics.counter("pin_cache_lookups_total", "Pins looked up, by outcome.", ("outcome",))
        metrics.gauge("pin_cache_pins", "Pins that are kept.").set_function(lambda: len(self._entries))
        metrics.gauge("pin_cache_bytes", "Bytes of their vectors.").set_function(lambda: self._num_bytes)

    async def features(self, pin_ids: Sequence[str], deadline: Deadline) -> Mapping[str, PinFeatures]:
        """As the store's; asks it only for pins that are not cached. Raises: what the store raises."""
        now_s = self._clock.monotonic_s()
        found = {pin_id: features for pin_id in pin_ids if (features := self._fresh(pin_id, now_s)) is not None}
        missing = [pin_id for pin_id in pin_ids if pin_id not in found]
        self._lookups.labels("hit").inc(len(found))
        self._lookups.labels("miss").inc(len(missing))
        return {**found, **await self.fetch(missing, deadline)} if missing else found

    async def fetch(self, pin_ids: Sequence[str], deadline: Deadline) -> Mapping[str, PinFeatures]:
        """Ask the store, whatever is kept, and keep what it answers. Raises: what the store raises."""
        until_s = self._clock.monotonic_s() + self._max_age_s
        fetched = await self._store.features(pin_ids, deadline)
        for pin_id, features in fetched.items():
            self._keep(pin_id, until_s, features)
        return fetched

    def take_ageing(self, num: int) -> Sequence[str]:
        """At most `num` pins that were asked for although their entries are no longer young, each once."""
        taken = list(islice(self._ageing, num))
        for pin_id in taken:
            del self._ageing[pin_id]
        return taken

    def _keep(self, pin_id: str, until_s: float, features: PinFeatures) -> None:
        if pin_id in self._entries:
            self._num_bytes -= _bytes(self._entries.pop(pin_id)[1])
        vector = features.content_vector
        kept = features if vector is None else replace(features, content_vector=vector.copy())
        self._entries[pin_id] = (until_s, kept)
        self._num_bytes += _bytes(kept)
        while len(self._entries) > self._max_pins:
            oldest, (_, gone) = self._entries.popitem(last=False)
            self._ageing.pop(oldest, None)
            self._num_bytes -= _bytes(gone)

    def _fresh(self, pin_id: str, now_s: float) -> PinFeatures | None:
        entry = self._entries.get(pin_id)
        if entry is None or entry[0] < now_s:
            return None
        self._entries.move_to_end(pin_id)
        if entry[0] - now_s < self._max_age_s * (1.0 - REFRESH_SHARE):
            self._ageing[pin_id] = None
        return entry[1]


def _bytes(features: PinFeatures) -> int:
    return 0 if features.content_vector is None else features.content_vector.nbytes
