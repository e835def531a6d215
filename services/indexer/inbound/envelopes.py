"""Enriched envelopes from record values."""

import pyarrow as pa
import pyarrow.compute as pc

from chassis.errors import Corrupt
from chassis.kafka import arrow
from chassis.kafka.record import Record
from protos import event_schema

_REQUIRED = event_schema.ACCEPTED


def envelope_of(record: Record) -> pa.RecordBatch:
    """Raises: Corrupt when the value is no Arrow stream or lacks an accepted column."""
    envelope = arrow.decode(record.value)
    for field in _REQUIRED:
        place = envelope.schema.get_field_index(field.name)
        if place < 0 or envelope.schema.field(place).type != field.type:
            raise Corrupt(
                f"envelope at {where(record)} has no column {field.name} of type {field.type}",
                field=field.name,
                reason="bad_schema",
            )
        if envelope.column(place).null_count:
            raise Corrupt(f"envelope at {where(record)} has null in {field.name}", field=field.name, reason="null")
    if pc.any(pc.equal(envelope.column("user_id"), "")).as_py():
        raise Corrupt(f"envelope at {where(record)} has an event without user", field="user_id", reason="empty")
    return envelope


def where(record: Record) -> str:
    """Topic, partition and offset for people."""
    return f"{record.topic}[{record.partition}]@{record.offset}"
