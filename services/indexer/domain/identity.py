"""Digests that tell whether two events are one, and whether they say the same."""

import hashlib
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

ID_BYTES = 12  # two of a user's 16,000 events share one with a probability below 1e-20
PAYLOAD_BYTES = 8
PAYLOAD = ("event_type", "event_time_ms", "pin_id", "surface", "request_id", "attributes")
"""What the publisher said. A second sending may differ in receipt, trace and enrichment and is still the same."""


def dedupe_keys(rows: pa.RecordBatch, column: str) -> list[str]:
    """What makes each row unique: the value of `column`, or the event id where that is null."""
    ids = rows.column("event_id")
    keys = ids if column == "event_id" else pc.coalesce(rows.column(column).cast(pa.string()), ids)
    found: list[str] = keys.to_pylist()
    return found


def id_digests(keys: Sequence[str]) -> list[bytes]:
    """12 bytes per dedupe key."""
    return [hashlib.blake2b(key.encode(), digest_size=ID_BYTES).digest() for key in keys]


def payload_digests(rows: pa.RecordBatch) -> list[bytes]:
    """8 bytes per row of an envelope."""
    columns = [rows.column(name).to_pylist() for name in PAYLOAD]
    return [
        hashlib.blake2b(repr(values).encode(), digest_size=PAYLOAD_BYTES).digest()
        for values in zip(*columns, strict=True)
    ]
