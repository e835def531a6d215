"""Rows as bytes that can be appended one after another, encoded and decoded column by column.

A row is: length u32 | schema id 4 B | null bits | fixed-width values | lengths u32 of the others | their bytes.
Everything before the bytes has one numpy layout per schema, so a batch costs a handful of array operations.
"""

import hashlib
import struct
from collections.abc import Sequence
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from chassis.errors import Corrupt
from services.indexer.domain.row_values import (
    Ints,
    Pieces,
    holds_count,
    is_fixed,
    join_values,
    numpy_type,
    split_values,
)

PREFIX_BYTES = 8  # length and schema id
_PREFIX = struct.Struct("<I4s")


class RowCodec:
    """Encodes and decodes rows of one schema."""

    def __init__(self, schema: pa.Schema) -> None:
        self.schema = schema.remove_metadata()
        self.schema_id = schema_id(self.schema)
        self._fixed = [field for field in self.schema if is_fixed(field.type)]
        self._varying = [field for field in self.schema if not is_fixed(field.type)]
        num_null_bytes = (len(self.schema) + 7) // 8
        self._layout = np.dtype(
            [
                ("length", "<u4"),
                ("schema", "V4"),
                ("nulls", "u1", (num_null_bytes,)),
                *((f"v_{field.name}", numpy_type(field.type)) for field in self._fixed),
                *((f"l_{field.name}", "<u4") for field in self._varying),
            ]
        )

    def encode(self, rows: pa.RecordBatch) -> list[bytes]:
        """One value per row. `rows` must have the schema of the codec."""
        headers = np.zeros(rows.num_rows, dtype=self._layout)
        headers["schema"] = np.void(self.schema_id)
        self._set_nulls(headers, rows)
        for field in self._fixed:
            column = rows.column(field.name)
            if column.null_count < len(column):
                headers[f"v_{field.name}"] = _filled(column).to_numpy(zero_copy_only=False)
        columns: list[Pieces] = []
        total = np.full(rows.num_rows, self._layout.itemsize, dtype=np.int64)
        for field in self._varying:
            column = rows.column(field.name)
            if column.null_count == len(column) and not holds_count(field.type):
                continue
            pieces, lengths = split_values(column)
            headers[f"l_{field.name}"] = lengths
            total += lengths
            columns.append(pieces)
        headers["length"] = total
        return _interleave(headers.tobytes(), self._layout.itemsize, columns)

    def decode(self, data: bytes, starts: Ints, columns: Sequence[str]) -> pa.RecordBatch:
        """The rows that start at `starts` in `data`, only these columns, in this order.

        Raises: Corrupt when the rows are shorter than they say.
        """
        num_rows = len(starts)
        try:
            window = starts[:, None] + np.arange(self._layout.itemsize)
            headers = np.frombuffer(data, dtype=np.uint8)[window].reshape(-1).view(self._layout)
        except IndexError as error:
            raise Corrupt(f"row of {len(data)} stored bytes is cut short") from error
        nulls = np.unpackbits(headers["nulls"], axis=1, bitorder="little").astype(bool)
        value_starts = self._value_starts(starts, headers) if num_rows else {}
        arrays = [self._column(name, data, headers, nulls, value_starts) for name in columns]
        return pa.RecordBatch.from_arrays(arrays, schema=pa.schema([self.schema.field(name) for name in columns]))

    def _column(
        self, name: str, data: bytes, headers: np.ndarray, nulls: np.ndarray, value_starts: dict[str, Ints]
    ) -> pa.Array:
        field = self.schema.field(name)
        null_mask = nulls[:, self._position[name]]
        if is_fixed(field.type):
            values = np.ascontiguousarray(headers[f"v_{name}"])
            return pa.array(
                values.astype(bool) if pa.types.is_boolean(field.type) else values,
                type=field.type,
                mask=null_mask if null_mask.any() else None,
            )
        if not len(headers):
            return pa.array([], type=field.type)
        begins = value_starts[name]
        return join_values(field.type, data, begins, begins + headers[f"l_{name}"], null_mask)

    def _value_starts(self, starts: Ints, headers: np.ndarray) -> dict[str, Ints]:
        position = starts + self._layout.itemsize
        found: dict[str, Ints] = {}
        for field in self._varying:
            found[field.name] = position
            position = position + headers[f"l_{field.name}"]
        return found

    def _set_nulls(self, headers: np.ndarray, rows: pa.RecordBatch) -> None:
        columns = [rows.column(field.name) for field in self.schema]
        if any(column.null_count for column in columns):
            masks = np.stack([_null_mask(column) for column in columns], axis=1)
            headers["nulls"] = np.packbits(masks, axis=1, bitorder="little")

    @cached_property
    def _position(self) -> dict[str, int]:
        return {field.name: place for place, field in enumerate(self.schema)}


def schema_id(schema: pa.Schema) -> bytes:
    """4 bytes that follow from names and types, in order."""
    text = "\n".join(f"{field.name}:{field.type}" for field in schema)
    return hashlib.sha256(text.encode()).digest()[:4]


def row_starts(data: bytes) -> list[tuple[bytes, Ints]]:
    """Runs of neighbouring rows with one schema: (schema id, where each row starts). Raises: Corrupt."""
    runs: list[tuple[bytes, list[int]]] = []
    position = 0
    while position < len(data):
        if position + PREFIX_BYTES > len(data):
            raise Corrupt(f"{len(data) - position} bytes after the last row")
        length, found = _PREFIX.unpack_from(data, position)
        if length < PREFIX_BYTES or position + length > len(data):
            raise Corrupt(f"row at byte {position} says {length} bytes, {len(data) - position} are left")
        if not runs or runs[-1][0] != found:
            runs.append((found, []))
        runs[-1][1].append(position)
        position += length
    return [(found, np.asarray(starts, dtype=np.int64)) for found, starts in runs]


def _interleave(headers: bytes, header_bytes: int, columns: Sequence[Pieces]) -> list[bytes]:
    heads = [headers[at : at + header_bytes] for at in range(0, len(headers), header_bytes)]
    return [b"".join(parts) for parts in zip(heads, *columns, strict=True)]


def _null_mask(column: pa.Array) -> np.ndarray:
    if column.null_count in (0, len(column)):
        return np.full(len(column), bool(column.null_count))
    mask: np.ndarray = pc.is_null(column).to_numpy(zero_copy_only=False)
    return mask


def _filled(column: pa.Array) -> pa.Array:
    if not column.null_count:
        return column
    is_boolean = pa.types.is_boolean(column.type)
    return pc.fill_null(column, pa.scalar(False) if is_boolean else pa.scalar(0, type=column.type))
