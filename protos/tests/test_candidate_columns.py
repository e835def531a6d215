"""Columns of candidates come out as they went in, and nothing that contradicts itself comes out."""

from typing import Any

import numpy as np
import pytest

from chassis.errors import Invalid
from protos.candidate_columns import CandidateColumns, decode_columns, encode_columns
from protos.common.v1 import common_pb2
from protos.tensors import numpy_to_tensor


def columns(**changes: Any) -> CandidateColumns:
    given = CandidateColumns(
        ["pin-1", "pin-2"],
        ["fresh", "popular"],
        np.array([1, 0], dtype=np.int32),
        np.array([0.1, 1e300]),
        np.array([0, 7], dtype=np.int32),
        np.array([[np.nan, 0.1], [1e300, 2.0]]),
        ["", "группа"],
    )
    return given._replace(**changes)


def test_what_is_sent_arrives() -> None:
    sent = columns()
    found = decode_columns(common_pb2.CandidateColumns.FromString(encode_columns(sent).SerializeToString()))
    for mine, theirs in zip(sent, found, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_no_groups_are_not_sent_and_no_candidates_are_no_trouble() -> None:
    assert not encode_columns(columns(content_groups=["", ""])).content_groups
    assert decode_columns(common_pb2.CandidateColumns()).pin_ids == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("generator", np.array([0], dtype=np.int32)),
        ("generator", np.array([0, 2], dtype=np.int32)),
        ("generator", np.array([0, -1], dtype=np.int32)),
        ("generator", np.array([0.0, 1.0])),
        ("score", np.zeros((2, 1))),
        ("score", np.zeros(2, dtype=np.float32)),
        ("rank", np.zeros(3, dtype=np.int32)),
        ("score_by_generator", np.zeros((2, 3))),
        ("score_by_generator", np.zeros((1, 2))),
    ],
)
def test_a_column_that_does_not_fit_is_named(field: str, value: np.ndarray) -> None:
    message = encode_columns(columns())
    getattr(message, field).CopyFrom(numpy_to_tensor(value))
    with pytest.raises(Invalid, match=field) as caught:
        decode_columns(message)
    assert caught.value.field == f"columns.{field}"


def test_groups_of_other_pins_are_refused() -> None:
    message = encode_columns(columns())
    message.content_groups.append("one too many")
    with pytest.raises(Invalid, match="3 entries"):
        decode_columns(message)


def test_a_column_that_is_absent_is_refused() -> None:
    message = encode_columns(columns())
    message.ClearField("score")
    with pytest.raises(Invalid):
        decode_columns(message)
