"""Closed buckets: many rows as compressed columns, of which a reader decodes only those it asks for."""

from collections.abc import Collection

import pyarrow as pa

from chassis.errors import Corrupt

_OPTIONS = pa.ipc.IpcWriteOptions(compression=pa.Codec("zstd", compression_level=3))


def to_blob(rows: pa.RecordBatch) -> bytes:
    """The rows as one Arrow stream; every buffer is compressed with zstd."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema, options=_OPTIONS) as writer:
        writer.write_batch(rows)
    return bytes(sink.getvalue().to_pybytes())


def from_blob(blob: bytes, columns: Collection[str] | None = None) -> pa.RecordBatch:
    """The rows with those of `columns` (None: all) that the blob has. Raises: Corrupt."""
    try:
        with pa.ipc.open_stream(blob) as reader:
            schema = reader.schema
            if columns is None:
                return reader.read_next_batch()
        wanted = [place for place, name in enumerate(schema.names) if name in columns]
        with pa.ipc.open_stream(blob, options=pa.ipc.IpcReadOptions(included_fields=wanted)) as reader:
            return reader.read_next_batch()
    except (pa.ArrowException, OSError, StopIteration) as error:
        raise Corrupt(f"bucket of {len(blob)} bytes is not readable: {error}") from error
