"""A user's history as a table."""

import pyarrow as pa

from services.cg.domain.retrieval import HistoryEvent

EVENTS: pa.Schema = pa.schema(
    [
        pa.field("pin_id", pa.string()),
        pa.field("event_type", pa.string()),
        pa.field("event_time_ms", pa.int64(), nullable=False),
    ]
)


def history_events(rows: pa.RecordBatch) -> tuple[HistoryEvent, ...]:
    """One event per row of EVENTS, in its order."""
    return tuple(map(HistoryEvent, *(rows.column(name).to_pylist() for name in EVENTS.names)))
