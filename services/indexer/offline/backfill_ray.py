"""The engine of a backfill in worker processes, on this machine or a cluster, through Ray Data."""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from chassis.clock import Clock
from sequences.definitions.definitions import Definitions
from sequences.engine.lookup import Row
from sequences.engine.runtimes.job import Job
from sequences.engine.runtimes.outcome import FAILED, FILTERED, KEPT, OUTCOME
from sequences.engine.runtimes.ray_data import enrich_on_ray, ray_session
from services.indexer.offline.backfill_engine import BATCH_ROWS, BackfillEngine, marked
from services.indexer.ports import PinStore

NUM_WORKERS = 2
NAMES = [field.name for field in OUTCOME]


@dataclass(frozen=True)
class GivenPins:
    """A LookupSource that travels with the job: the pins of one chunk. Workers need no way to the online store."""

    rows: Mapping[str, Row]

    def __call__(self) -> "GivenPins":
        """The source of a worker."""
        return self

    async def fetch(self, keys: Sequence[str]) -> Mapping[str, Row]:
        """Those that are known."""
        return {key: self.rows[key] for key in keys if key in self.rows}


class RayBackfillEngine(BackfillEngine):
    """As BackfillEngine, with the enrichments in workers. Ray runs from the first chunk until `close`."""

    def __init__(self, definitions: Definitions, pins: PinStore, clock: Clock, num_workers: int = NUM_WORKERS) -> None:
        super().__init__(definitions, pins, clock)
        self._num_workers = num_workers
        self._session = ExitStack()
        self._session.enter_context(ray_session(num_workers))

    def close(self) -> None:
        """End the workers and free the threads."""
        self._session.close()
        super().close()

    async def _enriched(self, events: pa.Table) -> tuple[list[pa.RecordBatch], Counter[str]]:
        pins = GivenPins(self._pins.given(events.column("pin_id").unique().to_pylist()))
        job = Job.of(self._definitions, pins)
        parts: list[pa.RecordBatch] = []
        failures = Counter[str]()
        for table in enrich_on_ray(job, events, self._num_workers, BATCH_ROWS):
            outcome, reasons = table.column(NAMES[0]), table.select(NAMES[1:])
            failed = reasons.filter(pc.equal(outcome, FAILED)).to_pylist()
            failures.update(f"{each[NAMES[1]]}: {each[NAMES[2]]}" for each in failed)
            for kind in (KEPT, FILTERED):
                rows = table.filter(pc.equal(outcome, kind)).drop_columns(NAMES).combine_chunks()
                parts += [marked(batch, kind == FILTERED) for batch in rows.to_batches()]
        return parts, failures
