"""Accepted events as one Arrow batch."""

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from protos import event_schema
from services.ingest.domain.event import Event

ROW_OVERHEAD_BYTES = 300  # Python objects of one event beside its texts


@dataclass(frozen=True, slots=True)
class Chunk:
    """Events of one request for one partition, with the trace they came by."""

    events: Sequence[Event]
    received_time_ms: int
    traceparent: str
    num_bytes: int


def size_of(event: Event) -> int:
    """About how many bytes an event holds in memory."""
    return (
        ROW_OVERHEAD_BYTES
        + len(event.attributes)
        + 4
        * (len(event.event_id) + len(event.user_id) + len(event.pin_id) + len(event.request_id) + len(event.surface))
    )


def to_batch(chunks: Sequence[Chunk]) -> pa.RecordBatch:
    """One row per event, in order."""
    events = [event for chunk in chunks for event in chunk.events]
    received = [chunk.received_time_ms for chunk in chunks for _ in chunk.events]
    traces = [chunk.traceparent for chunk in chunks for _ in chunk.events]
    columns: list[Sequence[object]] = [
        [event.event_id for event in events],
        [event.user_id for event in events],
        [event.event_type for event in events],
        [event.event_time_ms for event in events],
        received,
        [event.pin_id for event in events],
        [event.surface for event in events],
        [event.request_id for event in events],
        traces,
        [event.attributes for event in events],
    ]
    arrays = [pa.array(values, field.type) for values, field in zip(columns, event_schema.ACCEPTED, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=event_schema.ACCEPTED)
