"""Use case: accepted envelopes become enriched ones."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from chassis.clock import Clock
from chassis.record_batches import MAX_ROWS, join
from sequences.engine.provenance import sign
from sequences.engine.result import EngineResult
from services.enrich.app.engines import EnginePair, Engines
from services.enrich.app.unknown_types import UnknownTypes
from services.enrich.ports import EnrichedEvents, Parking

ENGINE_ROWS = 2_048  # a third of the CPU per event that batches of 512 cost; an envelope of so many leaves in one piece
ENGINE_BYTES = 1 << 20  # and stays below what Kafka takes, also when every attribute is as long as may be


@dataclass(frozen=True)
class Envelope:
    """Events of one partition, in order."""

    partition: int
    batch: pa.RecordBatch


class EnrichEvents:
    """Every row is published, filtered by a named enrichment, or parked with its reason.

    Envelopes of several partitions go through the engine together; each row leaves on the partition it came from.
    """

    def __init__(self, engines: Engines, enriched: EnrichedEvents, parking: Parking, clock: Clock) -> None:
        self._engines = engines
        self._enriched = enriched
        self._parking = parking
        self._clock = clock
        self._unknown_types = UnknownTypes(clock)

    async def __call__(self, envelopes: Sequence[Envelope]) -> None:
        """Returns when the effects are durable; safe to repeat.

        Raises: Invalid for wrong columns, Unavailable while Kafka is away, no definitions are known, or those that
        name an event's type may still be on their way; then nothing has been done.
        """
        engines = self._engines.current
        batches = join_for_engine([envelope.batch for envelope in envelopes])
        for batch in batches:
            self._unknown_types.check(batch, engines)
        sizes = [envelope.batch.num_rows for envelope in envelopes]
        partitions = np.repeat([envelope.partition for envelope in envelopes], sizes)
        for batch in batches:
            await self._one(batch, partitions[: batch.num_rows], engines)
            partitions = partitions[batch.num_rows :]

    async def _one(self, batch: pa.RecordBatch, partitions: NDArray[np.int64], engines: EnginePair) -> None:
        result = await engines.events.run(batch)
        for partition in np.unique(partitions[[failure.row for failure in result.failures]]):
            failures = [failure for failure in result.failures if partitions[failure.row] == partition]
            await self._parking.park_rows(batch, failures, int(partition))
        if result.batch.num_rows:
            await self._publish(result, partitions[result.rows], engines.version)

    async def _publish(self, result: EngineResult, partitions: NDArray[np.int64], version: str) -> None:
        signed = sign(result.batch, version, self._clock.now_ms())
        parts = {int(one): np.flatnonzero(partitions == one) for one in np.unique(partitions)}
        if len(parts) == 1:
            await self._enriched.publish(int(partitions[0]), signed)
            return
        await asyncio.gather(
            *(self._enriched.publish(partition, signed.take(pa.array(rows))) for partition, rows in parts.items())
        )


def join_for_engine(batches: Sequence[pa.RecordBatch]) -> list[pa.RecordBatch]:
    """The same rows in the same order, in batches of up to ENGINE_ROWS while rows are of ordinary size."""
    widths = [batch.nbytes / batch.num_rows for batch in batches if batch.num_rows]
    fitting = int(ENGINE_BYTES / max(widths, default=1.0))
    return join(batches, max_rows=max(MAX_ROWS, min(ENGINE_ROWS, fitting)))
