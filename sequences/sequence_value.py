"""A user's sequence as one value: an Arrow stream without compression.

Compression is the file's: it sees that the sequences of neighbouring requests share almost everything, which it could
not if each value were compressed by itself.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from chassis.errors import Corrupt


def to_values(sequences: Sequence[pa.RecordBatch]) -> pa.BinaryArray:
    """A value [R] for each sequence; all have the schema of the first, each value carries it."""
    sink, offsets = pa.BufferOutputStream(), np.zeros(len(sequences) + 1, np.int32)
    for place, events in enumerate(sequences):
        if place == 0:
            schema = events.schema.serialize()
        sink.write(schema)
        sink.write(events.serialize())
        offsets[place + 1] = sink.tell()
    return pa.Array.from_buffers(pa.binary(), len(sequences), [None, pa.py_buffer(offsets), sink.getvalue()])


def from_value(value: bytes | pa.Buffer) -> pa.RecordBatch:
    """The events [L]; columns point into `value`. Raises: Corrupt."""
    try:
        with pa.ipc.open_stream(value) as reader:
            return reader.read_next_batch()
    except (pa.ArrowException, OSError, StopIteration) as error:
        raise Corrupt(f"sequence of {len(value)} bytes is not readable: {error}", reason="bad_sequence") from error


def unpacked(values: pa.ChunkedArray | pa.Array) -> tuple[pa.Table, NDArray[np.int64]]:
    """Events of R sequences one after the other [E], and where each begins and ends, int64 [R + 1].

    A column that some sequences lack is null there. Raises: Corrupt.
    """
    batches = [from_value(each.as_buffer()) for each in values]
    offsets_R1 = np.cumsum([0, *(each.num_rows for each in batches)], dtype=np.int64)
    tables = [pa.Table.from_batches([each]) for each in batches]
    return (pa.concat_tables(tables, promote_options="permissive") if tables else pa.table({})), offsets_R1
