"""Use case: published pins become enriched ones."""

import asyncio
from collections.abc import Sequence

import pyarrow as pa

from chassis.clock import Clock
from sequences.definitions.columns import PIN_INPUT
from sequences.engine.result import RowFailure
from services.enrich.app.engines import EnginePair, Engines
from services.enrich.domain.pin import EnrichedPin, PublishedPin
from services.enrich.domain.quality import quality_score
from services.enrich.ports import EnrichedPins, Parking

SEMANTIC_ID = "semantic_id"
FILTERED = "was filtered, which pins cannot be"
Change = PublishedPin | str
"""A published pin, or the id of a deleted one."""
Enriched = EnrichedPin | RowFailure


class EnrichPins:
    """Every pin is published or parked; a deleted one becomes a tombstone."""

    def __init__(self, engines: Engines, enriched: EnrichedPins, parking: Parking, clock: Clock) -> None:
        self._engines = engines
        self._enriched = enriched
        self._parking = parking
        self._clock = clock

    async def __call__(self, changes: Sequence[Change]) -> None:
        """Returns when the effects are durable; changes of one pin keep their order; safe to repeat.

        Raises: Unavailable while Kafka is away or no definitions are known.
        """
        pins = [change for change in changes if isinstance(change, PublishedPin)]
        outcomes = iter(await self._enrich(pins, self._engines.current))
        by_pin: dict[str, list[tuple[Change, Enriched | None]]] = {}
        for change in changes:
            if isinstance(change, str):
                by_pin.setdefault(change, []).append((change, None))
            else:
                by_pin.setdefault(change.pin_id, []).append((change, next(outcomes)))
        results = await asyncio.gather(*map(self._in_order, by_pin.values()), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def _enrich(self, pins: Sequence[PublishedPin], engines: EnginePair) -> list[Enriched]:
        """One outcome per pin."""
        result = await engines.pins.run(to_batch(pins))
        outcomes: list[Enriched] = [RowFailure(row, "", FILTERED) for row in range(len(pins))]
        for failure in result.failures:
            outcomes[failure.row] = failure
        now_ms = self._clock.now_ms()
        vectors = result.batch.column("content_vector").to_pylist()
        versions = result.batch.column("content_vector_version").to_pylist()
        codes = _semantic_ids(result.batch)
        for row, vector, version, code in zip(result.rows.tolist(), vectors, versions, codes, strict=True):
            quality = quality_score(pins[row])
            outcomes[row] = EnrichedPin(pins[row], vector, version, quality, now_ms, engines.version, code or ())
        return outcomes

    async def _in_order(self, changes: Sequence[tuple[Change, Enriched | None]]) -> None:
        for change, outcome in changes:
            if isinstance(change, str):
                await self._enriched.delete(change)
            elif isinstance(outcome, EnrichedPin):
                await self._enriched.publish(outcome)
            elif outcome is not None:
                await self._parking.park_pin(change.pin_id, change.payload, outcome)


def _semantic_ids(rows: pa.RecordBatch) -> Sequence[Sequence[int] | None]:
    """Of each row; None for all when no enrichment writes them."""
    if SEMANTIC_ID not in rows.schema.names:
        return [None] * rows.num_rows
    found: list[list[int] | None] = rows.column(SEMANTIC_ID).to_pylist()
    return found


def to_batch(pins: Sequence[PublishedPin]) -> pa.RecordBatch:
    """What the enrichments of pins may read."""
    rows = [{name: getattr(pin, name) for name in PIN_INPUT.names} for pin in pins]
    return pa.RecordBatch.from_pylist(rows, schema=PIN_INPUT)
