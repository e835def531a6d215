"""ArrowTable messages to record batches and back."""

import pyarrow as pa

from chassis.errors import Corrupt
from protos.common.v1 import common_pb2


def batch_to_table(batch: pa.RecordBatch) -> common_pb2.ArrowTable:
    """One batch as an IPC stream, with its schema even when it has no rows."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return common_pb2.ArrowTable(ipc_stream=sink.getvalue().to_pybytes())


def table_to_batch(table: common_pb2.ArrowTable) -> pa.RecordBatch:
    """The batch of a message. Raises: Corrupt when the bytes are not an Arrow stream."""
    try:
        with pa.ipc.open_stream(pa.py_buffer(table.ipc_stream)) as reader:
            rows = reader.read_all()
            batches = rows.combine_chunks().to_batches()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise Corrupt(f"{len(table.ipc_stream)} bytes are no Arrow stream: {error}") from error
    return batches[0] if batches else pa.RecordBatch.from_pylist([], schema=rows.schema)
