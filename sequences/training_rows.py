"""The file format of training rows: one row per candidate, the user's whole sequence repeated in each, stored once.

Three things together, any one of which fails alone: rows sorted by (user id, request id); the sequence as one BINARY
value, dictionary-encoded under a limit above all the bytes of a row group; zstd, since lz4 and snappy look back only
64 KB. Shapes: R requests, B candidates.
"""

from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from chassis.errors import Invalid
from sequences.labels import LABELS
from sequences.request_batch import RequestBatch, joined

SEQUENCE = "sequence"
REQUEST_FIELDS: pa.Schema = pa.schema(
    [
        ("user_id", pa.string()),
        ("request_id", pa.string()),
        ("served_date", pa.date32()),
        ("served_time_ms", pa.int64()),
        ("surface", pa.string()),
        ("subject_pin_id", pa.string()),
        ("query", pa.string()),
        ("locale", pa.string()),
        ("definitions_version", pa.string()),
        ("num_events", pa.int32()),
        (SEQUENCE, pa.binary()),
    ]
)
"""`sequence` is of `sequence_value`: what the user had done when the request was served, `num_events` long."""
CANDIDATE_FIELDS: pa.Schema = pa.schema(
    [
        ("pin_id", pa.string()),
        ("position", pa.int32()),
        ("generator", pa.string()),
        ("score", pa.float64()),
        *((label, pa.bool_()) for label in LABELS),
    ]
)
TRAINING_ROWS: pa.Schema = pa.schema([*REQUEST_FIELDS, *CANDIDATE_FIELDS])

DICTIONARY_LIMIT_BYTES = 64 * 1024 * 1024
ROW_GROUP_UNIQUE_BYTES = 16 * 1024 * 1024  # distinct sequences; far below what the dictionary may hold
ROW_GROUP_ROWS = 262_144
ZSTD_LEVEL = 1  # 3 takes half as long again for 5 % less


class TrainingRowsWriter:
    """Writes one file; requests come sorted by (user id, request id). Holds one row group in memory.

    `field_ids` are the columns' ids in an Iceberg table.
    """

    def __init__(self, sink: Any, field_ids: Mapping[str, int] | None = None) -> None:
        self._field_ids = dict(field_ids or {})
        self._writer = pq.ParquetWriter(
            sink,
            self._typed(),
            compression="zstd",
            compression_level=ZSTD_LEVEL,
            dictionary_pagesize_limit=DICTIONARY_LIMIT_BYTES,
            write_statistics=[name for name in TRAINING_ROWS.names if name != SEQUENCE],
            store_schema=False,  # the columns are plain strings to readers that do not ask for dictionaries
        )
        self._waiting: list[RequestBatch] = []
        self._num_bytes = self._num_rows = 0
        self._last = ("", "")
        self.num_rows = 0

    def write(self, batch: RequestBatch) -> None:
        """Raises: Invalid when a request is not after the one before."""
        self._check_order(batch.request_features)
        for part in _split(batch):
            num_bytes, num_rows = _sequence_bytes(part), part.candidate_features.num_rows
            is_full = self._num_bytes + num_bytes > ROW_GROUP_UNIQUE_BYTES or self._num_rows + num_rows > ROW_GROUP_ROWS
            if self._waiting and is_full:
                self._flush()
            self._waiting.append(part)
            self._num_bytes += num_bytes
            self._num_rows += num_rows

    def close(self) -> None:
        """Finish the file."""
        self._flush()
        self._writer.close()

    def __enter__(self) -> "TrainingRowsWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is None:
            self.close()
        else:
            self._writer.close()

    def _flush(self) -> None:
        if not self._waiting:
            return
        rows = repeated(joined(self._waiting)).cast(self._typed())
        self._writer.write_table(rows, row_group_size=max(1, rows.num_rows))
        self.num_rows += rows.num_rows
        self._waiting, self._num_bytes, self._num_rows = [], 0, 0

    def _typed(self) -> pa.Schema:
        return pa.schema([self._field(field) for field in TRAINING_ROWS])

    def _field(self, field: pa.Field) -> pa.Field:
        kind = _stored_type(field)
        ids = {"PARQUET:field_id": str(self._field_ids[field.name])} if self._field_ids else None
        return pa.field(field.name, kind, metadata=ids)

    def _check_order(self, requests: pa.Table) -> None:
        names = [requests.column(name).to_pylist() for name in ("user_id", "request_id")]
        for found in zip(*names, strict=True):
            if found <= self._last:
                raise Invalid(f"request {found} comes after {self._last}: rows are not sorted", reason="not_sorted")
            self._last = found


def repeated(batch: RequestBatch) -> pa.Table:
    """TRAINING_ROWS [B] with every column of the request as a dictionary, so that nothing is copied per candidate."""
    columns = [_repeated(batch.request_features.column(field.name), field, batch) for field in REQUEST_FIELDS]
    columns += [batch.candidate_features.column(field.name) for field in CANDIDATE_FIELDS]
    return pa.table(columns, names=TRAINING_ROWS.names)


def _repeated(values: pa.ChunkedArray, field: pa.Field, batch: RequestBatch) -> pa.Array | pa.ChunkedArray:
    if not pa.types.is_dictionary(_stored_type(field)):
        return values.take(pa.array(batch.row_to_request))
    encoded = values.combine_chunks().dictionary_encode()
    return pa.DictionaryArray.from_arrays(encoded.indices.take(pa.array(batch.row_to_request)), encoded.dictionary)


def _stored_type(field: pa.Field) -> pa.DataType:
    is_of_request = field.name in REQUEST_FIELDS.names
    is_text = pa.types.is_string(field.type) or pa.types.is_binary(field.type)
    return pa.dictionary(pa.int32(), field.type) if is_of_request and is_text else field.type


def _sequence_bytes(batch: RequestBatch) -> int:
    return int(batch.request_features.column(SEQUENCE).nbytes)


def _split(batch: RequestBatch) -> Iterator[RequestBatch]:
    """In parts that fit a row group each; a request is never cut."""
    is_small = _sequence_bytes(batch) <= ROW_GROUP_UNIQUE_BYTES and batch.candidate_features.num_rows <= ROW_GROUP_ROWS
    if is_small or batch.num_requests <= 1:
        yield batch
        return
    half = batch.num_requests // 2
    yield from _split(batch.take(np.arange(half)))
    yield from _split(batch.take(np.arange(half, batch.num_requests)))
