"""A user's sequence as a table."""

import pyarrow as pa

from services.ranker.domain.ranking import SequenceEvent

EVENTS: pa.Schema = pa.schema(
    [
        pa.field("event_id", pa.string()),
        pa.field("event_type", pa.string()),
        pa.field("pin_id", pa.string()),
        pa.field("event_time_ms", pa.int64(), nullable=False),
        pa.field("traceparent", pa.string()),
    ]
)


def sequence_events(rows: pa.RecordBatch) -> tuple[SequenceEvent, ...]:
    """One event per row of EVENTS, in its order; a text that is absent is empty."""
    columns = zip(*(rows.column(name).to_pylist() for name in EVENTS.names), strict=True)
    return tuple(
        SequenceEvent(event_id or "", event_type or "", pin_id or "", time_ms, traceparent or "")
        for event_id, event_type, pin_id, time_ms, traceparent in columns
    )
