"""Served features from record values."""

import json

import pyarrow as pa
from google.protobuf.message import DecodeError

from chassis.errors import Corrupt
from chassis.kafka.record import Record
from protos.ranker.v1 import ranker_pb2 as pb
from services.indexer.domain.lake_rows import FEATURE_COLUMNS
from services.indexer.inbound.envelopes import where

LATEST_MS = 253_402_300_799_000  # the year 9999: beyond it no date is a partition
_AS_THEY_ARE = (
    "request_id",
    "user_id",
    "surface",
    "request_time_ms",
    "served_time_ms",
    "model",
    "model_version",
    "sequence_version",
    "num_candidates",
    "num_gapless_events",
    "is_whole_history",
)


def feature_rows_of(record: Record) -> pa.RecordBatch:
    """One row of FEATURE_COLUMNS. Raises: Corrupt."""
    try:
        served = pb.ServedFeatures.FromString(record.value or b"")
    except DecodeError as error:
        raise Corrupt(f"record at {where(record)} is no ServedFeatures: {error}") from error
    if not served.model or not 0 < served.served_time_ms <= LATEST_MS:
        raise Corrupt(f"features at {where(record)} have no model or time", field="served_time_ms", reason="empty")
    row = {name: getattr(served, name) for name in _AS_THEY_ARE} | {
        "versions": json.dumps(dict(served.versions.by_artifact), sort_keys=True),
        "vector_versions": json.dumps(dict(served.num_pins_by_vector_version), sort_keys=True),
        "defaulted_inputs": list(served.defaulted_inputs),
        "degraded": [each.component for each in served.degradations],
        "pin_ids": list(served.pin_ids),
        "event_ids": list(served.event_ids),
        "inputs": served.inputs.SerializeToString(),
    }
    return pa.RecordBatch.from_pylist([row], schema=FEATURE_COLUMNS)
