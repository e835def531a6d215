"""A bounded map that forgets what was used least recently, at the price of a plain dict look-up on a hit."""

from collections.abc import Callable
from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


class RecentKeys(dict[K, V]):
    """`recent[key]` makes a missing value with `make(key)`; at most `max_keys` values are held.

    Two generations instead of one linked list: a full young generation becomes the old one, and what nobody asked
    for in the meantime is dropped with it. So a key used within the last `max_keys / 2` other keys is never dropped.
    """

    def __init__(self, max_keys: int, make: Callable[[K], V]) -> None:
        super().__init__()
        self._generation_size = max(1, max_keys // 2)
        self._make = make
        self._old: dict[K, V] = {}

    def __missing__(self, key: K) -> V:
        value = self._old.pop(key) if key in self._old else self._make(key)
        if len(self) >= self._generation_size:
            self._old = dict(self)
            self.clear()
        self[key] = value
        return value

    def forget(self) -> None:
        """Drop everything."""
        self._old.clear()
        self.clear()

    @property
    def num_held(self) -> int:
        """Values in both generations."""
        return len(self) + len(self._old)
