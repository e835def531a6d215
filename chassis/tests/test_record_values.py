"""Arrow envelopes and CloudEvents headers."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.errors import Corrupt, Verdict
from chassis.kafka import arrow, cloud_events

BATCH = pa.record_batch({"event_id": ["a", "b"], "time_ms": pa.array([1, None], pa.int64()), "raw": [b"\x00", b""]})


def test_a_batch_comes_back_whole() -> None:
    assert arrow.decode(arrow.encode(BATCH)).equals(BATCH)
    empty = BATCH.slice(0, 0)
    assert arrow.decode(arrow.encode(empty)).equals(empty)


@pytest.mark.parametrize("value", [None, b"", b"garbage", arrow.encode(BATCH)[:40], arrow.encode(BATCH)[:-60]])
def test_anything_else_is_corrupt_and_to_be_parked(value: bytes | None) -> None:
    with pytest.raises(Corrupt) as raised:
        arrow.decode(value)
    assert raised.value.verdict is Verdict.PARK
    assert raised.value.reason


@given(st.data())
def test_damaged_bytes_are_corrupt_or_readable_and_never_a_crash(data: st.DataObject) -> None:
    value = bytearray(arrow.encode(BATCH))
    for at in data.draw(st.lists(st.integers(0, len(value) - 1), max_size=4)):
        value[at] ^= data.draw(st.integers(1, 255))
    try:
        arrow.decode(bytes(value))
    except Corrupt:
        return


def test_headers_follow_the_kafka_binding_of_cloud_events() -> None:
    headers = cloud_events.headers("corkboard.event", "ingest", "id-1", "3", arrow.CONTENT_TYPE)
    assert headers.pop("ce_time").endswith("+00:00")
    assert headers == {
        "ce_specversion": "1.0",
        "ce_id": "id-1",
        "ce_type": "corkboard.event",
        "ce_source": "ingest",
        "content-type": "application/vnd.apache.arrow.stream",
        "schema-version": "3",
    }
