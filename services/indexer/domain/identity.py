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


class PayloadDigests:
    """8 bytes per row of an envelope, made for the rows that are asked for; most views go to no sequence."""

    def __init__(self, rows: pa.RecordBatch) -> None:
        self._columns = [rows.column(name).to_pylist() for name in PAYLOAD]
        self._made: dict[int, bytes] = {}

    def __getitem__(self, row: int) -> bytes:
        if row not in self._made:
            values = tuple(column[row] for column in self._columns)
            self._made[row] = hashlib.blake2b(repr(values).encode(), digest_size=PAYLOAD_BYTES).digest()
        return self._made[row]
