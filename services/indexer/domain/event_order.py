"""The one order of a sequence: event time, then the bytes of the event id."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

TIME = "event_time_ms"
ID = "event_id"


def in_order(rows: pa.RecordBatch) -> pa.RecordBatch:
    """The same rows, oldest first."""
    if _is_in_order(rows):
        return rows
    return rows.take(pc.sort_indices(rows, sort_keys=[(TIME, "ascending"), (ID, "ascending")]))


def _is_in_order(rows: pa.RecordBatch) -> bool:
    steps = np.diff(rows.column(TIME).to_numpy())
    if len(steps) and int(steps.min()) < 0:
        return False
    ties = np.flatnonzero(steps == 0)
    if not len(ties):
        return True
    ids = rows.column(ID)
    return bool(pc.all(pc.less_equal(ids.take(pa.array(ties)), ids.take(pa.array(ties + 1)))).as_py())


def newest(rows: pa.RecordBatch, max_events: int, oldest_ms: int) -> pa.RecordBatch:
    """The last `max_events` of ordered rows, without those before `oldest_ms`."""
    first = int(np.searchsorted(rows.column(TIME).to_numpy(), oldest_ms))
    return rows.slice(max(first, rows.num_rows - max_events))


def newest_time_ms(ordered: pa.RecordBatch) -> int:
    """Event time of the last row; 0 without rows."""
    return int(ordered.column(TIME)[ordered.num_rows - 1].as_py()) if ordered.num_rows else 0


def joined(parts: Sequence[pa.RecordBatch], schema: pa.Schema) -> pa.RecordBatch:
    """All rows in the columns of `schema`."""
    fitting = [conform(part, schema) for part in parts if part.num_rows]
    if not fitting:
        return pa.RecordBatch.from_pylist([], schema=schema)
    return fitting[0] if len(fitting) == 1 else pa.concat_batches(fitting)


def widest(parts: Sequence[pa.RecordBatch], schema: pa.Schema) -> pa.Schema:
    """`schema` with the columns that only some parts have: rows of other definitions keep theirs."""
    known = set(schema.names)
    more = {field.name: field for part in parts for field in part.schema if field.name not in known}
    return pa.schema([*schema, *more.values()])


def conform(rows: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """The rows in the columns of `schema`; what is missing or cannot be cast is null."""
    if rows.schema.equals(schema):
        return rows
    arrays = [_column(rows, field) for field in schema]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _column(rows: pa.RecordBatch, field: pa.Field) -> pa.Array:
    place = rows.schema.get_field_index(field.name)
    if place < 0:
        return pa.nulls(rows.num_rows, field.type)
    column = rows.column(place)
    if column.type == field.type:
        return column
    try:
        return column.cast(field.type)
    except pa.ArrowException:
        return pa.nulls(rows.num_rows, field.type)
