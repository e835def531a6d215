"""How often each pin was delivered lately, as far as this process saw it. Bounded."""

from collections import OrderedDict
from collections.abc import Iterable


class Impressions:
    """Counts by pin; at most `max_pins` are counted, the one delivered longest ago is forgotten. One writer."""

    def __init__(self, max_pins: int = 200_000) -> None:
        self._max_pins = max_pins
        self._count_by_pin: OrderedDict[str, int] = OrderedDict()

    def add(self, pin_ids: Iterable[str]) -> None:
        """Each was delivered once more."""
        for pin_id in pin_ids:
            self._count_by_pin[pin_id] = self._count_by_pin.pop(pin_id, 0) + 1
        while len(self._count_by_pin) > self._max_pins:
            self._count_by_pin.popitem(last=False)

    def of(self, pin_id: str) -> int:
        """Deliveries of a pin, 0 for one never seen. Safe beside the writer."""
        return self._count_by_pin.get(pin_id, 0)
