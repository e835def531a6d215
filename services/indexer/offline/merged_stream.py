"""Both layers of events as one stream, with what decides between them: for jobs that may not hold a lake in memory.

The stream's rows come first, then the rows of published backfills that batch owns (at or before W of their type).
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa

from services.indexer.domain.lake_rows import Table
from services.indexer.domain.merge import IS_FILTERED, InCharge, in_charge_ms, owned
from services.indexer.domain.watermark import BatchState
from services.indexer.outbound.iceberg_backfills import IcebergBackfills
from services.indexer.outbound.iceberg_lake import IcebergLake

IN_CHARGE_MS = "in_charge_ms"
IS_BATCH = "is_batch"
DECIDING = (
    pa.field(IN_CHARGE_MS, pa.int64()),
    pa.field(IS_BATCH, pa.bool_()),
    pa.field(IS_FILTERED, pa.bool_()),
)


def merged_stream(
    lake: IcebergLake, since_ms: int, until_ms: int | None = None, event_types: Sequence[str] | None = None
) -> pa.RecordBatchReader | None:
    """Events of [since, until) in the columns of the lake and DECIDING; None without a lake. Raises: Unavailable."""
    batch_rows, state = IcebergBackfills(lake.catalog).stream(since_ms, until_ms, event_types)
    stream_rows = lake.stream(Table.EVENTS, since_ms, until_ms, event_types)
    if stream_rows is None:
        return None
    schema = pa.schema([*stream_rows.schema, *DECIDING])
    return pa.RecordBatchReader.from_batches(schema, _decided(schema, stream_rows, batch_rows, state))


def _decided(
    schema: pa.Schema, stream: pa.RecordBatchReader, batch: pa.RecordBatchReader | None, state: BatchState
) -> Iterator[pa.RecordBatch]:
    in_charge = {event_type: each.in_charge_since_ms for event_type, each in state.published.items()}
    for rows in stream:
        yield _with_deciding(schema, rows, in_charge, is_batch=False)
    for rows in batch or ():
        kept = rows.filter(pa.array(owned(pa.Table.from_batches([rows]), state.watermarks_ms)))
        yield _with_deciding(schema, kept, in_charge, is_batch=True)


def _with_deciding(schema: pa.Schema, rows: pa.RecordBatch, in_charge: InCharge, *, is_batch: bool) -> pa.RecordBatch:
    """A column that only the other layer has is null."""
    num_rows = rows.num_rows
    deciding: Mapping[str, pa.Array] = {
        IN_CHARGE_MS: pa.array(in_charge_ms(pa.Table.from_batches([rows]), in_charge)),
        IS_BATCH: pa.array(np.full(num_rows, is_batch)),
        IS_FILTERED: rows.column(IS_FILTERED) if is_batch else pa.array(np.zeros(num_rows, np.bool_)),
    }
    columns = []
    for field in schema:
        if field.name in deciding:
            columns.append(deciding[field.name])
        elif field.name in rows.schema.names:
            columns.append(rows.column(field.name).cast(field.type))
        else:
            columns.append(pa.nulls(num_rows, field.type))
    return pa.RecordBatch.from_arrays(columns, schema=schema)
