"""Values of varying length as one byte string per row, and back to Arrow columns."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from chassis.errors import Invalid

Ints = NDArray[np.int64]
Pieces = Sequence[bytes]

_COUNT = np.dtype("<u4")
_NUMPY_BY_TYPE: dict[pa.DataType, str] = {
    pa.int32(): "<i4",
    pa.int64(): "<i8",
    pa.float32(): "<f4",
    pa.float64(): "<f8",
    pa.bool_(): "u1",
}


def is_fixed(kind: pa.DataType) -> bool:
    """Whether every value of this type has the same width. Raises: Invalid for a type rows cannot hold."""
    if kind in _NUMPY_BY_TYPE:
        return True
    if _is_text(kind) or (pa.types.is_list(kind) and (_is_text(kind.value_type) or is_fixed(kind.value_type))):
        return False
    raise Invalid(f"rows cannot hold columns of type {kind}", reason="unknown_type")


def holds_count(kind: pa.DataType) -> bool:
    """Whether even a null has bytes: lists of texts begin with how many they are."""
    return bool(pa.types.is_list(kind) and _is_text(kind.value_type))


def numpy_type(kind: pa.DataType) -> str:
    """The little-endian numpy type of a fixed-width Arrow type."""
    return _NUMPY_BY_TYPE[kind]


def split_values(column: pa.Array) -> tuple[Pieces, Ints]:
    """The bytes of each row and how many they are; a null has none."""
    if _is_text(column.type):
        if column.null_count:
            column = pc.fill_null(column, pa.scalar("" if pa.types.is_string(column.type) else b""))
        offsets, data = _text_buffers(column)
        return _slices(data, offsets), np.diff(offsets)
    if column.null_count:
        column = pc.if_else(pc.is_valid(column), column, pa.scalar([], type=column.type))
    offsets = np.asarray(column.offsets.to_numpy(), dtype=np.int64)
    if not _is_text(column.type.value_type):
        values = np.ascontiguousarray(column.values.to_numpy(zero_copy_only=False), numpy_type(column.type.value_type))
        scaled = offsets * values.dtype.itemsize
        return _slices(values.tobytes(), scaled), np.diff(scaled)
    return _split_texts(column.values, offsets)


def join_values(kind: pa.DataType, data: bytes, begins: Ints, ends: Ints, null_mask: NDArray[np.bool_]) -> pa.Array:
    """The column whose row i is `data[begins[i]:ends[i]]`."""
    if holds_count(kind):
        return _join_texts(kind, data, begins, ends, null_mask)
    joined = b"".join([data[begin:end] for begin, end in zip(begins.tolist(), ends.tolist(), strict=True)])
    offsets = _offsets(ends - begins)
    if _is_text(kind):
        return _from_buffers(kind, offsets, null_mask, [pa.py_buffer(joined)], [])
    values = pa.array(np.frombuffer(joined, dtype=numpy_type(kind.value_type)), type=kind.value_type)
    return _from_buffers(kind, offsets // np.dtype(numpy_type(kind.value_type)).itemsize, null_mask, [], [values])


def _split_texts(texts: pa.Array, offsets: Ints) -> tuple[Pieces, Ints]:
    """A list of texts: how many, their lengths, their bytes."""
    text_offsets, data = _text_buffers(texts)
    lengths = np.diff(text_offsets).astype(_COUNT).tobytes()
    counts = np.diff(offsets).astype(_COUNT)
    sizes = _slices(lengths, offsets * _COUNT.itemsize)
    contents = _slices(data, text_offsets[offsets])
    pieces = [
        b"".join(parts) for parts in zip(_slices(counts.tobytes(), _every(len(counts))), sizes, contents, strict=True)
    ]
    return pieces, np.asarray([len(piece) for piece in pieces], dtype=np.int64)


def _join_texts(kind: pa.DataType, data: bytes, begins: Ints, ends: Ints, null_mask: NDArray[np.bool_]) -> pa.Array:
    width = _COUNT.itemsize
    spans = list(zip(begins.tolist(), ends.tolist(), strict=True))
    counts = np.frombuffer(b"".join([data[begin : begin + width] for begin, _ in spans]), dtype=_COUNT).astype(np.int64)
    middles = (begins + width * (1 + counts)).tolist()
    sizes = b"".join([data[begin + width : middle] for (begin, _), middle in zip(spans, middles, strict=True)])
    content = b"".join([data[middle:end] for (_, end), middle in zip(spans, middles, strict=True)])
    lengths = np.frombuffer(sizes, dtype=_COUNT).astype(np.int64)
    no_nulls = np.zeros(len(lengths), dtype=bool)
    texts = _from_buffers(kind.value_type, _offsets(lengths), no_nulls, [pa.py_buffer(content)], [])
    return _from_buffers(kind, _offsets(counts), null_mask, [], [texts])


def _from_buffers(
    kind: pa.DataType, offsets: Ints, null_mask: NDArray[np.bool_], data: list[pa.Buffer], children: list[pa.Array]
) -> pa.Array:
    validity = pa.py_buffer(np.packbits(~null_mask, bitorder="little").tobytes()) if null_mask.any() else None
    buffers = [validity, pa.py_buffer(offsets.astype(np.int32).tobytes()), *data]
    return pa.Array.from_buffers(kind, len(offsets) - 1, buffers, children=children)


def _text_buffers(texts: pa.Array) -> tuple[Ints, bytes]:
    _, offsets, data = texts.buffers()
    if not len(texts):
        return np.zeros(1, dtype=np.int64), b""
    window = np.frombuffer(offsets, dtype=np.int32)[texts.offset : texts.offset + len(texts) + 1].astype(np.int64)
    return window, data.to_pybytes() if data is not None else b""


def _slices(data: bytes, offsets: Ints) -> list[bytes]:
    at = offsets.tolist()
    return [data[begin:end] for begin, end in pairwise(at)]


def _offsets(lengths: Ints) -> Ints:
    return np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(lengths, dtype=np.int64)])


def _every(count: int) -> Ints:
    return np.arange(count + 1, dtype=np.int64) * _COUNT.itemsize


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_binary(kind))
