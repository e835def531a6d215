"""The engine over one chunk of history: every event becomes a row, a row that hides it, or a counted failure."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from chassis.clock import Clock
from chassis.errors import Unavailable
from protos import event_schema
from sequences.definitions.columns import enriched_schema
from sequences.definitions.definitions import Definitions
from sequences.engine.engine import Engine
from sequences.engine.lookup import CachedLookup, CacheLimits, Row
from sequences.engine.plan import plan_for
from sequences.engine.provenance import sign
from sequences.engine.result import EngineResult
from services.indexer.app.backfill import Chunk
from services.indexer.domain.lake_rows import Table, dated
from services.indexer.domain.lateness import late
from services.indexer.domain.layers import BATCH_COLUMNS, IS_LATE, RUN_ID
from services.indexer.domain.merge import IS_FILTERED
from services.indexer.domain.pins import PIN_SCHEMA
from services.indexer.domain.watermark import Run
from services.indexer.ports import PinStore

BATCH_ROWS = 16_384  # beyond, an executor gains nothing and a poison row costs more
PINS_PER_READ = 1_000
MAX_PINS = 200_000  # ~0.5 kB each
FOREVER_S = 10 * 365 * 86_400.0
LOOKUP_COLUMNS = tuple(name for name in PIN_SCHEMA.names if name != "content_vector")


class PrefetchedPins:
    """Pins of the chunk in hand, fetched before the engine starts.

    The stream may go on without a look-up that is not answered; history must not be rewritten without it, so an online
    store that is away fails the chunk here.
    """

    def __init__(self, pins: PinStore) -> None:
        self._pins = pins
        self._known: dict[str, Row | None] = {}

    def given(self, pin_ids: Sequence[str]) -> dict[str, Row]:
        """Those of these pins that exist; they must have been loaded."""
        return {pin_id: row for pin_id in pin_ids if (row := self._known.get(pin_id)) is not None}

    async def load(self, pin_ids: Sequence[str]) -> None:
        """Raises: Unavailable."""
        if len(self._known) > MAX_PINS:
            self._known.clear()
        missing = [pin_id for pin_id in pin_ids if pin_id and pin_id not in self._known]
        for at in range(0, len(missing), PINS_PER_READ):
            asked = missing[at : at + PINS_PER_READ]
            rows = await self._pins.read(asked, LOOKUP_COLUMNS)
            self._known.update(dict.fromkeys(asked))
            self._known.update({row["pin_id"]: row for row in rows.to_pylist()})

    async def fetch(self, keys: Sequence[str]) -> Mapping[str, Row]:
        """As a LookupSource. Raises: Unavailable for a key that was not loaded."""
        unknown = [key for key in keys if key not in self._known]
        if unknown:
            raise Unavailable(f"{len(unknown)} pins were not loaded, such as {unknown[0]!r}")
        return {key: row for key in keys if (row := self._known[key]) is not None}


class BackfillEngine:
    """One version of the definitions, in this process."""

    def __init__(self, definitions: Definitions, pins: PinStore, clock: Clock) -> None:
        self._definitions = definitions
        self._pins = PrefetchedPins(pins)
        self._clock = clock
        limits = CacheLimits(max_rows=2 * BATCH_ROWS, ttl_s=FOREVER_S, missing_ttl_s=FOREVER_S, rest_s=0.0)
        self._engine = Engine(plan_for(definitions), CachedLookup(self._pins, limits))
        self._bounds_ms = {name: each.max_lateness_s * 1000 for name, each in definitions.events.items()}

    @property
    def schema(self) -> pa.Schema:
        """Of the rows of chunks."""
        return pa.schema([*enriched_schema(self._definitions), *BATCH_COLUMNS, pa.field("event_date", pa.date32())])

    async def __call__(self, events: pa.Table, run: Run) -> Chunk:
        """Rows sorted and dated as the lake wants them. Raises: Unavailable without the online store."""
        await self._pins.load(events.column("pin_id").unique().to_pylist())
        parts, failures = await self._enriched(events)
        rows = pa.Table.from_batches([self._signed(part, run) for part in parts]) if parts else None
        rows = rows if rows is not None else self.schema.empty_table().drop_columns(["event_date"])
        num_kept = rows.num_rows - int(rows.column(IS_FILTERED).to_numpy().sum())
        is_late = late(rows, self._bounds_ms)
        rows = rows.append_column(IS_LATE, pa.array(is_late))
        rows = dated(rows.append_column(RUN_ID, pa.repeat(run.run_id, rows.num_rows)), Table.EVENTS)
        return Chunk(rows.select(self.schema.names), num_kept, rows.num_rows - num_kept, int(is_late.sum()), failures)

    def close(self) -> None:
        """Free the threads."""
        self._engine.close()

    async def _enriched(self, events: pa.Table) -> tuple[list[pa.RecordBatch], Counter[str]]:
        """Kept and filtered rows with IS_FILTERED, and failures by what went wrong."""
        parts, failures = [], Counter[str]()
        for batch in events.combine_chunks().to_batches(max_chunksize=BATCH_ROWS):
            result = await self._engine.run(batch)
            failures.update(f"{failure.enrichment}: {failure.reason}" for failure in result.failures)
            parts += [marked(result.batch, False), marked(_filtered(batch, result, self._engine), True)]
        return parts, failures

    def _signed(self, part: pa.RecordBatch, run: Run) -> pa.RecordBatch:
        return sign(part, run.definitions_version, self._clock.now_ms())


def marked(rows: pa.RecordBatch, is_filtered: bool) -> pa.RecordBatch:
    """With the column IS_FILTERED."""
    return rows.append_column(IS_FILTERED, pa.repeat(is_filtered, rows.num_rows))


def _filtered(batch: pa.RecordBatch, result: EngineResult, engine: Engine) -> pa.RecordBatch:
    """The rows that the definitions filter, with nulls for what enrichments write."""
    is_filtered = np.ones(batch.num_rows, np.bool_)
    is_filtered[result.rows] = False
    is_filtered[[failure.row for failure in result.failures]] = False
    rows = batch.filter(pa.array(is_filtered))
    for field in engine.plan.output_schema:
        if field.name not in event_schema.ACCEPTED.names:
            rows = rows.append_column(field, pa.nulls(rows.num_rows, field.type))
    return rows.select(engine.plan.output_schema.names)
