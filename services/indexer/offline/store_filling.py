"""What a rebuild writes into the online store, counted."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import pyarrow as pa

from chassis.clock import Clock
from services.indexer.domain.rebuild_progress import RebuildProgress
from services.indexer.domain.routing import Routing, oldest_ms
from services.indexer.domain.users import ACTED_WINDOW_MS, PinServing, UserVector
from services.indexer.inbound.pins import PinChanges
from services.indexer.wiring import OnlineStore


class StoreFilling:
    """Every write is idempotent, and none takes back what live consumers wrote in between."""

    def __init__(self, store: OnlineStore, routing: Routing, progress: RebuildProgress, clock: Clock) -> None:
        self._store = store
        self._routing = routing
        self._progress = progress
        self._clock = clock
        surfaces = routing.definitions.surfaces
        self._windows_s = {name: surface.seen_window_s for name, surface in surfaces.items()}
        self._put_pins: set[str] = set()
        self._users_with_vectors: set[str] = set()

    @property
    def events_since_ms(self) -> int:
        """No event before it is in any sequence or list."""
        now_ms = self._clock.now_ms()
        begins = [oldest_ms(each, now_ms) for each in self._routing.definitions.sequences.values()]
        return max(0, min(now_ms - ACTED_WINDOW_MS, *begins))

    @property
    def feeds_since_ms(self) -> int:
        """No feed before it says what has been seen."""
        return self._clock.now_ms() - 1_000 * max(self._windows_s.values(), default=0)

    async def events(self, envelope: pa.RecordBatch, source: str) -> None:
        """Index the events of `source`. Raises: Unavailable."""
        report = await self._store.sequences.append(self._routing.route(envelope, self._clock.now_ms()))
        self._progress.add(**{f"num_{source}_events": envelope.num_rows})
        for counts in report.values():
            self._progress.add(**vars(counts))

    async def servings(self, servings: Iterable[PinServing], source: str) -> None:
        """Remember what feeds of `source` showed. Raises: Unavailable."""
        known = [replace(each, window_s=self._windows_s[each.surface]) for each in servings if self._is_known(each)]
        await self._store.users.mark_served(known)
        self._progress.add(**{f"num_{source}_feeds": len(known)})

    async def pins(self, changes: PinChanges) -> None:
        """Delete only what was put here: a pin that live consumers put is newer than the log that is read."""
        await self._store.pins.delete([pin_id for pin_id in changes.deleted if pin_id in self._put_pins])
        await self._store.pins.put(changes.put)
        self._put_pins.update(changes.put.rows.column("pin_id").to_pylist())
        self._progress.add(num_pins=changes.put.rows.num_rows)

    async def vectors(self, withdrawn: Sequence[str], vectors: Sequence[UserVector]) -> None:
        """Withdraw only what was put here, like `pins`."""
        await self._store.users.forget_vectors([one for one in withdrawn if one in self._users_with_vectors])
        await self._store.users.put_vectors(vectors)
        self._users_with_vectors.update(each.user_id for each in vectors)
        self._progress.add(num_vectors=len(vectors))

    def _is_known(self, serving: PinServing) -> bool:
        return serving.surface in self._windows_s
