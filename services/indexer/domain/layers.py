"""The table that batch writes, and both layers of events as they were read."""

from dataclasses import dataclass

import pyarrow as pa

from services.indexer.domain.merge import IS_FILTERED, Parts
from services.indexer.domain.watermark import BatchState

BACKFILLED = "events_backfilled"
PARTITIONS = ("event_date", "event_type")
RUN_ID = "run_id"
IS_LATE = "is_late"
BATCH_COLUMNS: tuple[pa.Field, ...] = (
    pa.field(IS_FILTERED, pa.bool_()),
    pa.field(IS_LATE, pa.bool_()),
    pa.field(RUN_ID, pa.string()),
)
"""What a row of events_backfilled has besides the columns of events_enriched."""


@dataclass(frozen=True)
class Layers:
    """What the stream wrote, what the published runs wrote, and the state that says how to merge them."""

    parts: Parts
    state: BatchState
