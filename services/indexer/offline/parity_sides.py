"""The two kinds of side: a stream with its lake and online store, and the engine run over the accepted events."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Protocol

import pyarrow as pa

from sequences.definitions.columns import enriched_schema
from sequences.definitions.definitions import Definitions
from services.indexer.offline.parity_engine import ParityEngine
from services.indexer.offline.parity_sources import Window, computed_sequences, lake_events, stored_sequences
from services.indexer.outbound.iceberg_lake import IcebergLake
from services.indexer.ports import SequenceStore


class Side(Protocol):
    """One of two runs over the same accepted events. Every method raises Unavailable."""

    @property
    def definitions(self) -> Definitions:
        """What it ran under."""
        ...

    async def events(self) -> pa.Table:
        """Its enriched rows of the window, as they are now."""
        ...

    async def sequences(self, users: Sequence[str], max_events_of: Mapping[str, int]) -> pa.Table:
        """Sequences of these users; those of a stream may have events from before the window."""
        ...


class StreamSide:
    """What a running enrich and indexer wrote."""

    def __init__(self, definitions: Definitions, lake: IcebergLake, store: SequenceStore, window: Window) -> None:
        self.definitions = definitions
        self._lake = lake
        self._store = store
        self._window = window

    async def events(self) -> pa.Table:
        """Read anew at each call: what was late is then there. Columns that only other versions wrote are left out."""
        rows = await asyncio.to_thread(lake_events, self._lake, self._window)
        own = enriched_schema(self.definitions).names
        return rows.select([name for name in rows.column_names if name in own])

    async def sequences(self, users: Sequence[str], max_events_of: Mapping[str, int]) -> pa.Table:
        """As readers get them."""
        return await stored_sequences(self._store, users, max_events_of)


class BatchSide:
    """What the engine makes of the accepted events."""

    def __init__(self, definitions: Definitions, engine: ParityEngine, accepted: pa.Table, now_ms: int) -> None:
        self.definitions = definitions
        self._engine = engine
        self._accepted = accepted
        self._now_ms = now_ms
        self._rows: pa.Table | None = None

    async def events(self) -> pa.Table:
        """Computed once."""
        if self._rows is None:
            self._rows = await self._engine.enriched(self._accepted, self._now_ms)
        return self._rows

    async def sequences(self, users: Sequence[str], max_events_of: Mapping[str, int]) -> pa.Table:
        """By definition, from the rows."""
        return computed_sequences(await self.events(), self.definitions, users, max_events_of, self._now_ms)
