"""Accepted events through given definitions again: the batch side of a comparison, and why a side lacks an event."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sequences.definitions.definitions import Definitions
from sequences.engine.engine import Engine
from sequences.engine.lookup import CachedLookup, CacheLimits
from sequences.engine.plan import plan_for
from sequences.engine.provenance import sign
from sequences.parity.causes import Evidence
from services.indexer.offline.backfill_engine import BATCH_ROWS, FOREVER_S, PrefetchedPins
from services.indexer.ports import PinStore

LIMITS = CacheLimits(max_rows=2 * BATCH_ROWS, ttl_s=FOREVER_S, missing_ttl_s=FOREVER_S, rest_s=0.0)


class ParityEngine:
    """One version of the definitions. What is looked up is what the store knows now, not what it knew then."""

    def __init__(self, definitions: Definitions, pins: PinStore) -> None:
        self._definitions = definitions
        self._pins = PrefetchedPins(pins)
        self._lookup = CachedLookup(self._pins, LIMITS)
        self._engine = Engine(plan_for(definitions), self._lookup)

    async def enriched(self, accepted: pa.Table, now_ms: int) -> pa.Table:
        """Rows as the stream would write them. Raises: Unavailable."""
        await self._load(accepted)
        batches = accepted.combine_chunks().to_batches(max_chunksize=BATCH_ROWS)
        results = [await self._engine.run(batch) for batch in batches]
        signed = [sign(result.batch, self._definitions.version, now_ms) for result in results]
        if signed:
            return pa.Table.from_batches(signed)
        none = pa.RecordBatch.from_pylist([], schema=self._engine.plan.output_schema)
        return pa.Table.from_batches([sign(none, self._definitions.version, now_ms)])

    async def evidence(self, accepted: pa.Table) -> list[Evidence]:
        """What these definitions do with each event: fail on it, filter it, or keep it. Raises: Unavailable."""
        found: list[Evidence] = []
        await self._load(accepted)
        for batch in accepted.combine_chunks().to_batches(max_chunksize=BATCH_ROWS):
            reasons, filters = await self._outcomes(batch)
            for row in range(batch.num_rows):
                found.append(Evidence(failure=reasons.get(row, ""), filtered_by=filters.get(row, "")))
        return found

    def close(self) -> None:
        """Free the threads."""
        self._engine.close()

    async def _outcomes(self, batch: pa.RecordBatch) -> tuple[Mapping[int, str], Mapping[int, str]]:
        """Row -> reason of failure; row -> enrichment that filters it, found by running the plan up to each filter."""
        result = await self._engine.run(batch)
        reasons = {each.row: f"{each.enrichment}: {each.reason}" for each in result.failures}
        filters: dict[int, str] = {}
        plan = self._engine.plan
        for place, planned in enumerate(plan.steps):
            if planned.name not in result.filtered:
                continue
            part = Engine(replace(plan, steps=plan.steps[: place + 1], output_schema=plan.input_schema), self._lookup)
            try:
                survivors = (await part.run(batch)).rows
            finally:
                part.close()
            gone = np.setdiff1d(np.arange(batch.num_rows), survivors)
            filters |= {int(row): planned.name for row in gone if int(row) not in filters and int(row) not in reasons}
        return reasons, filters

    async def _load(self, accepted: pa.Table) -> None:
        await self._pins.load(pc.unique(accepted.column("pin_id")).to_pylist())
