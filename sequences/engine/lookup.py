"""Batched look-ups: one call per batch for what the cache does not hold, and a short rest after a failure."""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from chassis.clock import SYSTEM_CLOCK, Clock
from chassis.errors import CorkboardError, Corrupt, DeadlineExceeded, Unavailable
from sequences.engine.observer import Observer, SilentObserver

Row = Mapping[str, Any]


class LookupSource(Protocol):
    """Rows by key from their owner."""

    async def fetch(self, keys: Sequence[str]) -> Mapping[str, Row]:
        """One call for all keys; an unknown key is absent. Raises: CorkboardError."""
        ...


class NoLookups:
    """Knows no key."""

    async def fetch(self, keys: Sequence[str]) -> Mapping[str, Row]:  # noqa: ARG002
        return {}


@dataclass(frozen=True)
class CacheLimits:
    """How much is kept, for how long."""

    max_rows: int = 50_000  # ~0.5 kB each
    ttl_s: float = 60.0
    missing_ttl_s: float = 1.0  # a pin is enriched about a second after its publication
    rest_s: float = 1.0  # no call for so long after a failed one


class CachedLookup:
    """A source behind a least-recently-used cache. Not thread-safe: one event loop."""

    def __init__(
        self,
        source: LookupSource,
        limits: CacheLimits = CacheLimits(),
        *,
        clock: Clock = SYSTEM_CLOCK,
        observer: Observer | None = None,
    ) -> None:
        self._source = source
        self._limits = limits
        self._clock = clock
        self._observer = observer or SilentObserver()
        self._rows: OrderedDict[str, tuple[float, Row | None]] = OrderedDict()
        self._rest_until_s = 0.0

    async def get(self, keys: Sequence[str], timeout_s: float) -> tuple[dict[str, Row], bool]:
        """Known rows by key, and whether every key could be asked for."""
        found: dict[str, Row] = {}
        absent = [key for key in dict.fromkeys(keys) if not self._from_cache(key, found)]
        started_s = self._clock.monotonic_s()
        if not absent:
            return found, True
        if started_s < self._rest_until_s:
            self._observer.on_lookup("skipped", len(keys), 0, 0.0)
            return found, False
        try:
            rows = await self._fetch(absent, timeout_s)
        except CorkboardError as error:
            self._rest_until_s = self._clock.monotonic_s() + self._limits.rest_s
            self._observer.on_lookup(type(error).__name__, len(keys), len(absent), self._since(started_s))
            return found, False
        self._observer.on_lookup("ok", len(keys), len(absent), self._since(started_s))
        for key in absent:
            self._remember(key, rows.get(key))
            if key in rows:
                found[key] = rows[key]
        return found, True

    async def _fetch(self, keys: Sequence[str], timeout_s: float) -> Mapping[str, Row]:
        """Raises: CorkboardError, whatever the source does."""
        try:
            async with asyncio.timeout(timeout_s):
                rows = await self._source.fetch(keys)
        except TimeoutError as error:
            raise DeadlineExceeded(f"look-up of {len(keys)} keys took longer than {timeout_s} s") from error
        except CorkboardError:
            raise
        except Exception as error:  # a source is foreign code: its fault must not become that of the rows
            raise Unavailable(f"look-up of {len(keys)} keys failed: {type(error).__name__}: {error}") from error
        if not isinstance(rows, Mapping) or not all(isinstance(row, Mapping) for row in rows.values()):
            raise Corrupt(f"look-up of {len(keys)} keys was answered with something else than rows by key")
        return rows

    def _from_cache(self, key: str, found: dict[str, Row]) -> bool:
        entry = self._rows.get(key)
        if entry is None:
            return False
        expires_s, row = entry
        if expires_s <= self._clock.monotonic_s():
            del self._rows[key]
            return False
        self._rows.move_to_end(key)
        if row is not None:
            found[key] = row
        return True

    def _remember(self, key: str, row: Row | None) -> None:
        ttl_s = self._limits.ttl_s if row is not None else self._limits.missing_ttl_s
        self._rows[key] = (self._clock.monotonic_s() + ttl_s, row)
        self._rows.move_to_end(key)
        while len(self._rows) > self._limits.max_rows:
            self._rows.popitem(last=False)

    def _since(self, started_s: float) -> float:
        return self._clock.monotonic_s() - started_s
