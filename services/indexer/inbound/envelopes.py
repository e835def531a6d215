"""Enriched envelopes from record values."""

import pyarrow as pa
import pyarrow.compute as pc

from chassis.errors import Corrupt
from chassis.kafka import arrow
from chassis.kafka.record import Record
from protos import event_schema
from services.indexer.inbound.times import check_time

_REQUIRED = event_schema.ACCEPTED
EVENT_TYPE = "^[a-z][a-z0-9_]{0,63}$"  # as definitions name them; the lake makes folders of it


def envelope_of(record: Record) -> pa.RecordBatch:
    """Raises: Corrupt when the value is no Arrow stream, lacks an accepted column or has a time that is none."""
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
    for name in ("event_time_ms", "received_time_ms") if envelope.num_rows else ():
        bounds = pc.min_max(envelope.column(name)).as_py()
        for time_ms in bounds.values():
            check_time(where(record), name, time_ms)
    if not pc.all(pc.match_substring_regex(envelope.column("event_type"), EVENT_TYPE)).as_py():
        raise Corrupt(
            f"envelope at {where(record)} has an event type that no definition can have",
            field="event_type",
            reason="bad_name",
        )
    if pc.any(pc.equal(envelope.column("user_id"), "")).as_py():
        raise Corrupt(f"envelope at {where(record)} has an event without user", field="user_id", reason="empty")
    return envelope


def where(record: Record) -> str:
    """Topic, partition and offset for people."""
    return f"{record.topic}[{record.partition}]@{record.offset}"
