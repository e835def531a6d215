"""Files of one day for the tables that batch owns, with a digest of what they say."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sequences.request_batch import RequestBatch
from sequences.sequence_value import to_values
from sequences.training_rows import DICTIONARY_LIMIT_BYTES, TRAINING_ROWS, TrainingRowsWriter
from services.indexer.offline.sequence_events import SequenceEvents
from services.indexer.outbound.iceberg_days import DayTable, Write, Written

DAY_MS = 86_400_000
SEQUENCE_ROWS: pa.Schema = pa.schema(
    [
        ("user_id", pa.string()),
        ("sequence", pa.string()),
        ("bucket_date", pa.date32()),
        ("num_events", pa.int32()),
        ("first_event_time_ms", pa.int64()),
        ("newest_event_time_ms", pa.int64()),
        ("definitions_version", pa.string()),
        ("events", pa.binary()),
    ]
)
"""One row per user, sequence and day; `events` is of `sequences.sequence_value`, in the order of (time, id)."""
TRAINING_TABLE = DayTable("training_rows", TRAINING_ROWS, "served_date")
SEQUENCES_TABLE = DayTable("sequences", SEQUENCE_ROWS, "bucket_date")


def write_training_rows(batches: Callable[[], Iterable[RequestBatch]]) -> Write:
    """What writes these requests, sorted by (user id, request id)."""

    def write(sink: Any, field_ids: Mapping[str, int]) -> Written:
        digest = hashlib.blake2b(digest_size=16)
        with TrainingRowsWriter(sink, field_ids) as writer:
            for batch in batches():
                writer.write(batch)
                digest.update(batch.row_to_request.tobytes())
                for table in (batch.request_features, batch.candidate_features):
                    _add(digest, table)
        return Written(writer.num_rows, digest.hexdigest())

    return write


def write_sequences(events: SequenceEvents, sequence: str, day: date) -> Write:
    """What writes the events of this day (UTC), a row per user that has any."""

    def write(sink: Any, field_ids: Mapping[str, int]) -> Written:
        rows, digest = _sequence_rows(events, sequence, day), hashlib.blake2b(digest_size=16)
        _add(digest, rows)
        ids = {name: {"PARQUET:field_id": str(field_ids[name])} for name in SEQUENCE_ROWS.names}
        schema = pa.schema([field.with_metadata(ids[field.name]) for field in SEQUENCE_ROWS])
        pq.write_table(
            rows.cast(schema),
            sink,
            compression="zstd",
            dictionary_pagesize_limit=DICTIONARY_LIMIT_BYTES,
            write_statistics=[name for name in SEQUENCE_ROWS.names if name != "events"],
        )
        return Written(rows.num_rows, digest.hexdigest())

    return write


def _sequence_rows(events: SequenceEvents, sequence: str, day: date) -> pa.Table:
    begin_ms = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1000
    rows, batches = [], []
    for user_id in events.users():
        found, times_ms, _ = events.of(user_id)
        first, end = (int(place) for place in np.searchsorted(times_ms, [begin_ms, begin_ms + DAY_MS]))
        if first < end:
            batches.append(found.slice(first, end - first))
            rows.append((user_id, end - first, int(times_ms[first]), int(times_ms[end - 1])))
    user_ids, counts, firsts_ms, newest_ms = zip(*rows, strict=True) if rows else ((), (), (), ())
    columns = [
        user_ids,
        [sequence] * len(rows),
        [day] * len(rows),
        counts,
        firsts_ms,
        newest_ms,
        [events.definitions_version] * len(rows),
    ]
    arrays = [pa.array(values, field.type) for values, field in zip(columns, SEQUENCE_ROWS, strict=False)]
    return pa.Table.from_arrays([*arrays, to_values(batches)], schema=SEQUENCE_ROWS)


def _add(digest: Any, table: pa.Table) -> None:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table.combine_chunks())
    digest.update(sink.getvalue())
