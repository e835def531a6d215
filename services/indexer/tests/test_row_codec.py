"""Rows keep every value, whatever its type, null or length."""

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chassis.errors import Corrupt
from services.indexer.domain.row_codec import RowCodec, row_starts

SCHEMA = pa.schema(
    [
        ("text", pa.string()),
        ("blob", pa.binary()),
        ("flag", pa.bool_()),
        ("small", pa.int32()),
        ("large", pa.int64()),
        ("single", pa.float32()),
        ("double", pa.float64()),
        ("texts", pa.list_(pa.string())),
        ("codes", pa.list_(pa.int32())),
        ("vector", pa.list_(pa.float32())),
    ]
)
TEXT = st.text(max_size=12)
ROW = st.fixed_dictionaries(
    {
        "text": st.none() | TEXT,
        "blob": st.none() | st.binary(max_size=9),
        "flag": st.none() | st.booleans(),
        "small": st.none() | st.integers(-(2**31), 2**31 - 1),
        "large": st.none() | st.integers(-(2**63), 2**63 - 1),
        "single": st.none() | st.floats(width=32, allow_nan=False),
        "double": st.none() | st.floats(allow_nan=False),
        "texts": st.none() | st.lists(TEXT, max_size=3),
        "codes": st.none() | st.lists(st.integers(-9, 9), max_size=3),
        "vector": st.none() | st.lists(st.floats(width=32, allow_nan=False), max_size=3),
    }
)


@given(st.lists(ROW, max_size=6), st.integers(0, 3))
@settings(max_examples=150, deadline=None)
def test_rows_survive_encoding(rows: list[dict[str, Any]], skipped: int) -> None:
    batch = pa.RecordBatch.from_pylist(rows, schema=SCHEMA).slice(skipped)
    codec = RowCodec(SCHEMA)
    data = b"".join(codec.encode(batch))
    decoded = [codec.decode(data, starts, SCHEMA.names) for _, starts in row_starts(data)]
    assert [row for part in decoded for row in part.to_pylist()] == batch.to_pylist()


def test_only_the_columns_asked_for_are_decoded() -> None:
    codec = RowCodec(SCHEMA)
    data = codec.encode(pa.RecordBatch.from_pylist([{"large": 7, "texts": ["a", "é"]}], schema=SCHEMA))[0]
    [(_, starts)] = row_starts(data)
    assert codec.decode(data, starts, ["texts", "large"]).to_pylist() == [{"texts": ["a", "é"], "large": 7}]


def test_rows_of_two_schemas_form_two_runs() -> None:
    one, two = RowCodec(pa.schema([("a", pa.int64())])), RowCodec(pa.schema([("a", pa.string())]))
    data = one.encode(pa.RecordBatch.from_pylist([{"a": 1}, {"a": 2}], schema=one.schema))
    data += two.encode(pa.RecordBatch.from_pylist([{"a": "x"}], schema=two.schema))
    runs = row_starts(b"".join(data))
    assert [(found, len(starts)) for found, starts in runs] == [(one.schema_id, 2), (two.schema_id, 1)]


@pytest.mark.parametrize("cut", [1, 5, 9])
def test_cut_rows_are_corrupt(cut: int) -> None:
    codec = RowCodec(SCHEMA)
    [data] = codec.encode(pa.RecordBatch.from_pylist([{"text": "hello"}], schema=SCHEMA))
    with pytest.raises(Corrupt):
        row_starts(data[:-cut])
