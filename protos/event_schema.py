"""The columns of an event envelope: what ingest writes, and what enrich adds around its own."""

from collections.abc import Iterable

import pyarrow as pa

SCHEMA_VERSION = "1"
CONTENT_TYPE = "application/vnd.apache.arrow.stream"

ACCEPTED: pa.Schema = pa.schema(
    [
        pa.field("event_id", pa.string(), nullable=False),
        pa.field("user_id", pa.string(), nullable=False),
        pa.field("event_type", pa.string(), nullable=False),
        pa.field("event_time_ms", pa.int64(), nullable=False),
        pa.field("received_time_ms", pa.int64(), nullable=False),
        pa.field("pin_id", pa.string(), nullable=False),
        pa.field("surface", pa.string(), nullable=False),
        pa.field("request_id", pa.string(), nullable=False),
        pa.field("traceparent", pa.string(), nullable=False),
        pa.field("attributes", pa.binary(), nullable=False),
    ]
)
"""An envelope of events.accepted. Absent texts are "", absent attributes are b""."""

PROVENANCE: tuple[pa.Field, ...] = (
    pa.field("definitions_version", pa.string(), nullable=False),
    pa.field("enriched_time_ms", pa.int64(), nullable=False),
)
"""The last columns of an envelope of events.enriched."""


def enriched(columns: Iterable[pa.Field]) -> pa.Schema:
    """The schema of events.enriched for these enrichment columns, which may all be null."""
    return pa.schema([*ACCEPTED, *columns, *PROVENANCE])
