"""Used quota from record values."""

import math
from dataclasses import asdict

import pyarrow as pa

from chassis.errors import Corrupt
from chassis.kafka.record import Record
from protos.rules import decode_usage
from services.indexer.domain.lake_rows import USAGE_COLUMNS
from services.indexer.inbound.envelopes import where
from services.indexer.inbound.times import check_time


def usage_rows_of(record: Record) -> pa.RecordBatch:
    """One row of USAGE_COLUMNS. Raises: Corrupt."""
    window = asdict(decode_usage(record.value or b""))
    units = [window[name] for name in ("admitted", "refused", "shadow_refused")]
    if not window["key"] or not all(map(math.isfinite, units)):
        raise Corrupt(f"usage window at {where(record)} has no key or units", field="key", reason="empty")
    check_time(where(record), "window_start_ms", window["window_start_ms"])
    return pa.RecordBatch.from_pylist([window], schema=USAGE_COLUMNS)
