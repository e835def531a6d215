"""Tensors and tables survive the wire; bad ones are refused."""

import numpy as np
import pyarrow as pa
import pytest

from chassis.errors import Corrupt, Invalid
from protos.common.v1 import common_pb2 as pb
from protos.event_schema import ACCEPTED
from protos.tables import batch_to_table, table_to_batch
from protos.tensors import numpy_to_tensor, tensor_to_numpy


@pytest.mark.parametrize("dtype", ["f4", "f8", "i4", "i8", "?", "i1", "u1", ">f4"])
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3), (2, 0, 4)])
def test_arrays_survive(dtype: str, shape: tuple[int, ...]) -> None:
    array = np.ones(shape, dtype=dtype)
    found = tensor_to_numpy(numpy_to_tensor(array))
    assert found.shape == shape
    assert np.array_equal(found, array)


def test_a_transposed_array_is_sent_in_c_order() -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3).T
    assert np.array_equal(tensor_to_numpy(numpy_to_tensor(array)), array)


@pytest.mark.parametrize(
    "tensor",
    [
        pb.Tensor(data=b"1234", shape=[2], dtype=pb.DTYPE_FLOAT32),
        pb.Tensor(data=b"", shape=[1], dtype=pb.DTYPE_INT8),
        pb.Tensor(data=b"1234", shape=[1]),
        pb.Tensor(data=b"12", shape=[-2], dtype=pb.DTYPE_INT8),
        pb.Tensor(shape=[2**62, 2**62], dtype=pb.DTYPE_INT8),
    ],
)
def test_shapes_and_types_that_disagree_are_invalid(tensor: pb.Tensor) -> None:
    with pytest.raises(Invalid):
        tensor_to_numpy(tensor)


def test_an_element_type_without_number_is_invalid() -> None:
    with pytest.raises(Invalid):
        numpy_to_tensor(np.array(["text"]))


@pytest.mark.parametrize("num_rows", [0, 2])
def test_batches_survive_with_their_schema(num_rows: int) -> None:
    batch = pa.RecordBatch.from_pylist([dict.fromkeys(ACCEPTED.names)] * 0, schema=ACCEPTED)
    if num_rows:
        batch = pa.record_batch({"x": [1, 2]})
    found = table_to_batch(batch_to_table(batch))
    assert found.equals(batch)
    assert found.schema.equals(batch.schema)


@pytest.mark.parametrize("content", [b"", b"garbage", b"\xff\xff\xff\xff\x10\x00\x00\x00"])
def test_bytes_that_are_no_stream_are_corrupt(content: bytes) -> None:
    with pytest.raises(Corrupt):
        table_to_batch(pb.ArrowTable(ipc_stream=content))


def test_a_tensor_with_more_axes_than_any_model_has_is_invalid() -> None:
    tensor = pb.Tensor(data=b"\0\0\0\0", shape=[1] * 100, dtype=pb.DTYPE_FLOAT32)
    with pytest.raises(Invalid, match="100 axes"):
        tensor_to_numpy(tensor)
