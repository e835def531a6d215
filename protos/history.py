"""A user's sequence that one service has read, handed on to others within a request."""

import pyarrow as pa

from chassis.errors import Corrupt
from protos.common.v1.common_pb2 import History
from protos.tables import table_to_batch


def handed_on(history: History, sequence: str, max_events: int, schema: pa.Schema) -> pa.RecordBatch | None:
    """The newest `max_events` rows with the columns of `schema`.

    None when whoever is asked is to read them himself, who then hears what is wrong: nothing was handed on, or another
    sequence, or one of which fewer events were asked for, or events that are no table with these columns.
    """
    if history.sequence != sequence or 0 < history.max_events < max_events:
        return None
    try:
        rows = table_to_batch(history.events).select(schema.names).cast(schema)
    except (Corrupt, KeyError, ValueError, pa.ArrowException):
        return None
    return rows.slice(max(0, rows.num_rows - max_events))
