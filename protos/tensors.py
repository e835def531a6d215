"""Tensor messages to numpy arrays and back."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chassis.errors import Invalid
from protos.common.v1 import common_pb2

MAX_AXES = 8  # more than any model has; numpy itself takes 64
_NUMPY_BY_DTYPE: dict[int, np.dtype[Any]] = {
    common_pb2.DTYPE_FLOAT32: np.dtype("<f4"),
    common_pb2.DTYPE_FLOAT64: np.dtype("<f8"),
    common_pb2.DTYPE_INT32: np.dtype("<i4"),
    common_pb2.DTYPE_INT64: np.dtype("<i8"),
    common_pb2.DTYPE_BOOL: np.dtype("?"),
    common_pb2.DTYPE_INT8: np.dtype("i1"),
    common_pb2.DTYPE_UINT8: np.dtype("u1"),
}
_DTYPE_BY_NUMPY = {dtype: number for number, dtype in _NUMPY_BY_DTYPE.items()}


def numpy_to_tensor(array: NDArray[Any]) -> common_pb2.Tensor:
    """The array in C order, little-endian. Raises: Invalid for an element type that has no DType."""
    dtype = array.dtype.newbyteorder("<")
    if dtype not in _DTYPE_BY_NUMPY:
        raise Invalid(f"no tensor type for numpy {array.dtype}", reason="unknown_dtype")
    data = np.ascontiguousarray(array, dtype=dtype).tobytes()
    return common_pb2.Tensor(data=data, shape=array.shape, dtype=_DTYPE_BY_NUMPY[dtype])  # type: ignore[arg-type]


def tensor_to_numpy(tensor: common_pb2.Tensor) -> NDArray[Any]:
    """A read-only view of the message's bytes. Raises: Invalid when shape, type and bytes disagree."""
    dtype = _NUMPY_BY_DTYPE.get(tensor.dtype)
    if dtype is None:
        raise Invalid(f"tensor has unknown element type {tensor.dtype}", field="dtype", reason="unknown_dtype")
    shape = tuple(tensor.shape)
    if len(shape) > MAX_AXES:
        raise Invalid(f"tensor has {len(shape)} axes, at most {MAX_AXES} are taken", field="shape", reason="bad_shape")
    if any(size < 0 for size in shape):
        raise Invalid(f"tensor shape {shape} has a negative size", field="shape", reason="bad_shape")
    expected_bytes = math.prod(shape) * dtype.itemsize
    if expected_bytes != len(tensor.data):
        raise Invalid(
            f"tensor of shape {shape} needs {expected_bytes} bytes, has {len(tensor.data)}",
            field="data",
            reason="bad_shape",
        )
    return np.frombuffer(tensor.data, dtype=dtype).reshape(shape)
