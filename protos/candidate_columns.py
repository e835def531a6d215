"""Candidates by column, between a message and arrays.

Shapes: N candidates, G generators.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from chassis.errors import Invalid
from protos.common.v1 import common_pb2
from protos.tensors import numpy_to_tensor, tensor_to_numpy


class CandidateColumns(NamedTuple):
    """As in the message; content groups are N, or none at all."""

    pin_ids: Sequence[str]
    generators: Sequence[str]
    generator_N: NDArray[np.int32]
    score_N: NDArray[np.float64]
    rank_N: NDArray[np.int32]
    score_by_generator_NG: NDArray[np.float64]
    content_groups: Sequence[str] = ()


def encode_columns(columns: CandidateColumns) -> common_pb2.CandidateColumns:
    """The message."""
    return common_pb2.CandidateColumns(
        pin_ids=columns.pin_ids,
        generators=columns.generators,
        generator=numpy_to_tensor(columns.generator_N.astype(np.int32, copy=False)),
        score=numpy_to_tensor(columns.score_N),
        rank=numpy_to_tensor(columns.rank_N.astype(np.int32, copy=False)),
        score_by_generator=numpy_to_tensor(columns.score_by_generator_NG),
        content_groups=columns.content_groups if any(columns.content_groups) else (),
    )


def decode_columns(message: common_pb2.CandidateColumns) -> CandidateColumns:
    """Read-only views of the message's bytes. Raises: Invalid naming the column that does not fit the others."""
    pin_ids, generators, groups = list(message.pin_ids), list(message.generators), list(message.content_groups)
    num, width = len(pin_ids), len(generators)
    if len(groups) not in (0, num):
        raise _misfit("content_groups", f"has {len(groups)} entries, there are {num} pins")
    generator_N = column(message.generator, "columns.generator", np.int32, (num,))
    if num and not 0 <= int(generator_N.min()) <= int(generator_N.max()) < width:
        raise _misfit("generator", f"names one that is not among {width} generators")
    return CandidateColumns(
        pin_ids,
        generators,
        generator_N,
        column(message.score, "columns.score", np.float64, (num,)),
        column(message.rank, "columns.rank", np.int32, (num,)),
        column(message.score_by_generator, "columns.score_by_generator", np.float64, (num, width)),
        groups,
    )


def column(tensor: common_pb2.Tensor, name: str, dtype: Any, shape: tuple[int, ...]) -> NDArray[Any]:
    """The array of this type and shape; an absent tensor stands for one without elements. Raises: Invalid."""
    if not tensor.data and not tensor.dtype and 0 in shape:
        return np.zeros(shape, dtype=dtype)
    try:
        found = tensor_to_numpy(tensor)
    except Invalid as error:
        raise Invalid(f"{name}: {error.message}", field=name, reason=error.reason) from error
    if found.dtype != dtype or found.shape != shape:
        raise Invalid(
            f"{name} is {found.dtype} {list(found.shape)}, must be {np.dtype(dtype)} {list(shape)}",
            field=name,
            reason="bad_shape",
        )
    return found


def _misfit(name: str, what: str) -> Invalid:
    return Invalid(f"columns.{name} {what}", field=f"columns.{name}", reason="bad_shape")
