"""Training data written as the files of a dataset bundle."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from modeling.training_data import TrainingData
from sequences.dataset import (
    HISTORIES,
    HISTORIES_FILE,
    PINS_FILE,
    SERVED,
    SERVED_FILE,
    TRAINING_ROWS_FILE,
    pins_schema,
)
from sequences.labels import LABELS
from sequences.request_batch import RequestBatch, joined
from sequences.sequence_value import to_values
from sequences.training_rows import CANDIDATE_FIELDS, REQUEST_FIELDS, SEQUENCE, TrainingRowsWriter


def write_dataset(folder: Path, data: TrainingData) -> Path:
    """The folder, with all three files."""
    folder.mkdir(parents=True, exist_ok=True)
    histories = [
        {
            "user_id": item.user_id,
            "event_ids": [f"{item.user_id}-{n}" for n in range(len(item.pin_ids))],
            "pin_ids": list(item.pin_ids),
            "event_types": list(item.event_types),
            "event_times_ms": list(item.event_times_ms),
            "dwell_s": [None] * len(item.pin_ids),
            "value_micros": [None] * len(item.pin_ids),
            "ratings": [None] * len(item.pin_ids),
        }
        for item in data.histories
    ]
    pins = [
        {
            "pin_id": pin_id,
            "topics": list(data.pins.topics[row]),
            "content_vector": data.pins.content_PW[row],
            "created_time_ms": int(data.pins.created_ms_P[row]),
            "advertiser_id": "",
            "price_micros": int(data.pins.price_micros_P[row]),
            "content_group": "",
            "locale": "",
        }
        for row, pin_id in enumerate(data.pins.pin_ids)
    ]
    batches = list(data.served()) if data.served is not None else []
    if batches:
        with TrainingRowsWriter(str(folder / TRAINING_ROWS_FILE)) as writer:
            writer.write(joined(batches))
    tables = {
        HISTORIES_FILE: pa.Table.from_pylist(histories, schema=HISTORIES),
        PINS_FILE: pa.Table.from_pylist(pins, schema=pins_schema(data.pins.content_PW.shape[1])),
        SERVED_FILE: _served(batches),
    }
    for name, table in tables.items():
        pq.write_table(table, folder / name)
    return folder


def served_requests(requests: Sequence[Mapping[str, Any]]) -> RequestBatch:
    """Of requests in the order of (user_id, request_id), which have these, served_time_ms, surface, `events` (pin, type
    and time of each) and `pins` (each a pin_id and its labels)."""
    schema = pa.schema([("pin_id", pa.string()), ("event_type", pa.string()), ("event_time_ms", pa.int64())])
    columns: dict[str, list[Any]] = {name: [None] * len(requests) for name in REQUEST_FIELDS.names}
    for name in ("user_id", "request_id", "served_time_ms", "surface"):
        columns[name] = [request[name] for request in requests]
    columns["num_events"] = [len(request["events"]) for request in requests]
    sequences = [
        pa.RecordBatch.from_pylist([dict(zip(schema.names, event, strict=True)) for event in request["events"]], schema)
        for request in requests
    ]
    candidates = [
        {"position": place, "generator": "", "score": 0.0, **dict.fromkeys(LABELS, False), **pin}
        for request in requests
        for place, pin in enumerate(request["pins"])
    ]
    return RequestBatch(
        pa.table({**columns, SEQUENCE: to_values(sequences)}, schema=REQUEST_FIELDS),
        pa.Table.from_pylist(candidates, schema=CANDIDATE_FIELDS),
        np.repeat(np.arange(len(requests)), [len(request["pins"]) for request in requests]),
    )


def _served(batches: Sequence[RequestBatch]) -> pa.Table:
    rows = [
        {**requests[at], **candidate}
        for batch in batches
        for requests in [batch.request_features.to_pylist()]
        for at, candidate in zip(batch.row_to_request.tolist(), batch.candidate_features.to_pylist(), strict=True)
    ]
    return pa.Table.from_pylist([{name: row[name] for name in SERVED.names} for row in rows], schema=SERVED)
