"""What enrich needs from the world; rows by key come through sequences.engine.lookup.LookupSource."""

from collections.abc import Sequence
from typing import Protocol

import pyarrow as pa

from sequences.engine.result import RowFailure
from services.enrich.domain.pin import EnrichedPin


class EnrichedEvents(Protocol):
    """Where enriched events go."""

    async def publish(self, partition: int, batch: pa.RecordBatch) -> None:
        """Returns when every replica has the envelope; `partition` is that of the accepted one. Raises: Unavailable."""
        ...


class EnrichedPins(Protocol):
    """Where enriched pins go; the newest version of an id wins."""

    async def publish(self, pin: EnrichedPin) -> None:
        """Returns when every replica has it. Raises: Unavailable."""
        ...

    async def delete(self, pin_id: str) -> None:
        """Likewise, a tombstone."""
        ...


class Parking(Protocol):
    """Where rows and pins go that cannot be enriched; people look at them."""

    async def park_rows(self, batch: pa.RecordBatch, failures: Sequence[RowFailure], partition: int) -> None:
        """Returns when every failed row of the accepted batch is kept with its reason. Raises: Unavailable."""
        ...

    async def park_pin(self, pin_id: str, payload: bytes, failure: RowFailure) -> None:
        """Likewise for one published pin."""
        ...
