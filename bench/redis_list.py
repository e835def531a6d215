"""The peer of the online store: one Redis LIST per user, newest first, each event packed into one value.

Rows of fixed width are packed with `struct` and decoded by numpy. Rows with texts, lists and nulls are packed with
msgpack: struct has no lengths of its own, JSON is twice the bytes, and pickle is neither safe nor smaller.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import msgpack
import numpy as np
import pyarrow as pa
from redis.asyncio import Redis


class Packing(Protocol):
    """Events as one value each, and back."""

    def pack(self, rows: pa.RecordBatch) -> list[bytes]:
        """One value per row."""
        ...

    def unpack(self, values: Sequence[bytes], columns: Sequence[str]) -> pa.Table:
        """Some columns of the rows, in the order of the values."""
        ...


class MsgpackPacking:
    """Each event is one msgpack array of its columns."""

    def __init__(self, schema: pa.Schema) -> None:
        self._schema = schema

    def pack(self, rows: pa.RecordBatch) -> list[bytes]:
        columns = [rows.column(name).to_pylist() for name in self._schema.names]
        return [msgpack.packb(row) for row in zip(*columns, strict=True)]

    def unpack(self, values: Sequence[bytes], columns: Sequence[str]) -> pa.Table:
        whole = b"\xdd" + len(values).to_bytes(4, "big") + b"".join(values)  # one array: one call instead of 16,000
        found = list(zip(*msgpack.unpackb(whole, use_list=False), strict=True))
        fields = [self._schema.field(name) for name in columns]
        arrays = [pa.array(found[self._schema.get_field_index(field.name)], field.type) for field in fields]
        return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


class FixedPacking:
    """24 bytes: event time i64, event id of 8 characters, pin id of 7, number of the event type."""

    LAYOUT = np.dtype([("event_time_ms", "<i8"), ("event_id", "S8"), ("pin_id", "S7"), ("event_type", "u1")])

    def __init__(self, schema: pa.Schema, event_types: Sequence[str]) -> None:
        self._schema = schema
        self._event_types = pa.array(event_types)
        self._numbers = {name: number for number, name in enumerate(event_types)}

    def pack(self, rows: pa.RecordBatch) -> list[bytes]:
        packed = np.empty(rows.num_rows, self.LAYOUT)
        for name in ("event_time_ms", "event_id", "pin_id"):
            packed[name] = rows.column(name).to_pylist()
        packed["event_type"] = [self._numbers[name] for name in rows.column("event_type").to_pylist()]
        whole, width = packed.tobytes(), self.LAYOUT.itemsize
        return [whole[at : at + width] for at in range(0, len(whole), width)]

    def unpack(self, values: Sequence[bytes], columns: Sequence[str]) -> pa.Table:
        rows = np.frombuffer(b"".join(values), self.LAYOUT)
        return pa.table([self._column(rows, name) for name in columns], [*columns])

    def _column(self, rows: np.ndarray, name: str) -> pa.Array:
        values = np.ascontiguousarray(rows[name])
        if name == "event_type":
            return self._event_types.take(pa.array(values))
        if name == "event_time_ms":
            return pa.array(values)
        width = values.dtype.itemsize  # every id fills it: the offsets are known
        offsets = np.arange(len(values) + 1, dtype=np.int32) * width
        return pa.StringArray.from_buffers(len(values), pa.py_buffer(offsets), pa.py_buffer(values))


class RedisList:
    """LPUSH and LTRIM of all events of an envelope in one pipeline; LRANGE for the newest. No event is looked for."""

    def __init__(self, redis: "Redis", packing: Packing, max_events: int) -> None:
        self._redis = redis
        self._packing = packing
        self._max_events = max_events

    async def append(self, rows: pa.RecordBatch) -> None:
        """The rows of an envelope, oldest first, grouped by user."""
        values: dict[str, list[bytes]] = {}
        for user_id, value in zip(rows.column("user_id").to_pylist(), self._packing.pack(rows), strict=True):
            values.setdefault(user_id, []).append(value)
        pipeline: Any = self._redis.pipeline(transaction=False)
        for user_id, some in values.items():
            pipeline.lpush(self.key(user_id), *some)
            pipeline.ltrim(self.key(user_id), 0, self._max_events - 1)
        await pipeline.execute()

    async def read(self, user_id: str, num_events: int, columns: Sequence[str]) -> pa.Table:
        """The newest events, oldest first."""
        redis: Any = self._redis
        found = await redis.execute_command("LRANGE", self.key(user_id), 0, num_events - 1)
        return self._packing.unpack(found[::-1], columns)

    @staticmethod
    def key(user_id: str) -> str:
        """The one key of a user."""
        return f"list:{{{user_id}}}"
