"""Used quota from record values."""

import math
from dataclasses import asdict

import pyarrow as pa

from chassis.errors import Corrupt
from chassis.kafka.record import Record
from protos.rules import decode_usage
from services.indexer.domain.lake_rows import USAGE_COLUMNS
from services.indexer.inbound.envelopes import where


def usage_rows_of(record: Record) -> pa.RecordBatch:
    """One row of USAGE_COLUMNS. Raises: Corrupt."""
    window = asdict(decode_usage(record.value or b""))
    if not window["key"] or window["window_start_ms"] < 0 or not math.isfinite(window["admitted"]):
        raise Corrupt(f"usage window at {where(record)} has no key, time or units", field="key", reason="empty")
    return pa.RecordBatch.from_pylist([window], schema=USAGE_COLUMNS)
