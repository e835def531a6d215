"""Use case: accepted envelopes of one partition become enriched ones."""

from collections.abc import Sequence

import pyarrow as pa

from chassis.clock import Clock
from chassis.record_batches import join
from sequences.engine.provenance import sign
from services.enrich.app.engines import EnginePair, Engines
from services.enrich.ports import EnrichedEvents, Parking


class EnrichEvents:
    """Every row is published, filtered by a named enrichment, or parked with its reason."""

    def __init__(self, engines: Engines, enriched: EnrichedEvents, parking: Parking, clock: Clock) -> None:
        self._engines = engines
        self._enriched = enriched
        self._parking = parking
        self._clock = clock

    async def __call__(self, partition: int, batches: Sequence[pa.RecordBatch]) -> None:
        """Returns when the effects are durable; safe to repeat.

        Raises: Invalid for wrong columns, Unavailable while Kafka is away or no definitions are known.
        """
        engines = self._engines.current
        for batch in join(batches):
            await self._one(partition, batch, engines)

    async def _one(self, partition: int, batch: pa.RecordBatch, engines: EnginePair) -> None:
        result = await engines.events.run(batch)
        if result.failures:
            await self._parking.park_rows(batch, result.failures, partition)
        if result.batch.num_rows:
            signed = sign(result.batch, engines.version, self._clock.now_ms())
            await self._enriched.publish(partition, signed)
