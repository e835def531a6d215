"""Which events were acknowledged lately, so that a repeat is told as such."""

from collections import OrderedDict
from collections.abc import Hashable


class RecentIds:
    """The newest `max_ids` acknowledged keys. Older repeats pass; every sink is idempotent on the event's key."""

    def __init__(self, max_ids: int) -> None:
        self._max_ids = max_ids
        self._keys: OrderedDict[Hashable, None] = OrderedDict()

    def add(self, key: Hashable) -> None:
        """Remember an acknowledged key."""
        self._keys[key] = None
        self._keys.move_to_end(key)
        if len(self._keys) > self._max_ids:
            self._keys.popitem(last=False)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._keys

    def __len__(self) -> int:
        return len(self._keys)
