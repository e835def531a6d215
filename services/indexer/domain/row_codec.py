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
from services.indexer.domain.row_values import Ints, Pieces, is_fixed, join_values, numpy_type, split_values

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
        headers["nulls"] = self._null_bits(rows)
        for field in self._fixed:
            headers[f"v_{field.name}"] = pc.fill_null(rows.column(field.name), _zero(field.type)).to_numpy(
                zero_copy_only=False
            )
        columns: list[Pieces] = []
        total = np.full(rows.num_rows, self._layout.itemsize, dtype=np.int64)
        for field in self._varying:
            pieces, lengths = split_values(rows.column(field.name))
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

    def _null_bits(self, rows: pa.RecordBatch) -> np.ndarray:
        masks = np.stack([_null_mask(rows.column(field.name)) for field in self.schema], axis=1)
        return np.packbits(masks, axis=1, bitorder="little")

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
    if not column.null_count:
        return np.zeros(len(column), dtype=bool)
    mask: np.ndarray = pc.is_null(column).to_numpy(zero_copy_only=False)
    return mask


def _zero(kind: pa.DataType) -> object:
    return pa.scalar(False) if pa.types.is_boolean(kind) else pa.scalar(0, type=kind)
