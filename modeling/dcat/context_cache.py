"""Contexts of recent users, so that the next page or another surface skips the context pass.

The key says everything that a context depends on, so an entry never goes stale: a new event or a new model is a new
key. The least recently used entries leave first, by bytes.
"""

from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock
from typing import Generic, Protocol, TypeVar

V = TypeVar("V")


@dataclass(frozen=True)
class ContextKey:
    """What a context was computed from."""

    user_id: str
    sequence_version: int
    model_version: str
    digest: bytes = b""  # of what the events' rows were made from, where that can change under the same version


class ContextCacheMeter(Protocol):
    """Who counts. A fake must accept calls from any thread."""

    def looked_up(self, is_hit: bool) -> None:
        """One look-up; the hit ratio is hits over all."""

    def saved_s(self, seconds: float) -> None:
        """A hit spared a pass that took this long when it was made."""

    def holds(self, num_bytes: int, num_entries: int) -> None:
        """What the cache holds now."""


@dataclass(frozen=True)
class _Entry(Generic[V]):
    value: V
    num_bytes: int
    made_in_s: float


class ContextCache(Generic[V]):
    """At most `max_bytes` of values. Safe to share between threads; a value must not be changed once it is put."""

    def __init__(self, max_bytes: int, meter: ContextCacheMeter) -> None:
        self._max_bytes, self._meter = max_bytes, meter
        self._entries: OrderedDict[ContextKey, _Entry[V]] = OrderedDict()
        self._num_bytes = 0
        self._lock = Lock()

    def get(self, key: ContextKey) -> V | None:
        """The value of exactly this key, which becomes the most recently used."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is not None:
                self._entries.move_to_end(key)
        self._meter.looked_up(entry is not None)
        if entry is None:
            return None
        self._meter.saved_s(entry.made_in_s)
        return entry.value

    def put(self, key: ContextKey, value: V, num_bytes: int, made_in_s: float) -> None:
        """Keep a value of `num_bytes` that took `made_in_s` to make; one larger than the whole cache is not kept."""
        with self._lock:
            self._drop(key)
            if num_bytes <= self._max_bytes:
                self._entries[key] = _Entry(value, num_bytes, made_in_s)
                self._num_bytes += num_bytes
            while self._num_bytes > self._max_bytes:
                self._drop(next(iter(self._entries)))
            held, count = self._num_bytes, len(self._entries)
        self._meter.holds(held, count)

    def _drop(self, key: ContextKey) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._num_bytes -= entry.num_bytes
