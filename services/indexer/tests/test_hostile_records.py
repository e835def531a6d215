"""Values that no store can hold are Corrupt, which parks the record; `e2e/test_hostile_records.py` sends many more."""

import pyarrow as pa
import pytest

from chassis.errors import Corrupt
from chassis.kafka import arrow
from chassis.kafka.record import Record
from protos.blender.v1 import blender_pb2
from protos.common.v1 import common_pb2
from protos.indexer.v1 import indexer_pb2
from protos.pins.v1 import pins_pb2
from services.indexer.inbound.envelopes import envelope_of
from services.indexer.inbound.feeds import feed_of, rows_of
from services.indexer.inbound.pins import pin_changes, vectors_of
from services.indexer.tests.samples import envelope, event

BAD_TIMES_MS = (-1, 1_790_000_000_000_000_000, 2**63 - 1, -(2**63))


def record(value: bytes) -> Record:
    return Record("topic", 0, 7, b"key", value, {}, 0)


def with_column(name: str, value: object) -> bytes:
    batch = envelope([event(1)])
    column = pa.array([value], type=batch.schema.field(name).type)
    return arrow.encode(batch.set_column(batch.schema.get_field_index(name), batch.schema.field(name), column))


@pytest.mark.parametrize("time_ms", BAD_TIMES_MS)
@pytest.mark.parametrize("name", ["event_time_ms", "received_time_ms"])
def test_an_event_of_no_time_is_corrupt(name: str, time_ms: int) -> None:
    with pytest.raises(Corrupt, match=name) as caught:
        envelope_of(record(with_column(name, time_ms)))
    assert caught.value.field == name
    assert envelope_of(record(with_column(name, 1_790_000_000_000))).num_rows == 1


@pytest.mark.parametrize("event_type", ["", "Save", "../../etc", "x" * 65, "save now", "save\n", "сохранить"])
def test_an_event_type_that_is_no_name_is_corrupt(event_type: str) -> None:
    with pytest.raises(Corrupt, match="event type"):
        envelope_of(record(with_column("event_type", event_type)))


@pytest.mark.parametrize("time_ms", BAD_TIMES_MS)
def test_a_feed_a_pin_and_a_vector_of_no_time_are_corrupt(time_ms: int) -> None:
    feed = blender_pb2.ServedFeed(request_id="r", user_id="u", served_time_ms=time_ms)
    with pytest.raises(Corrupt, match="served_time_ms"):
        feed_of(record(feed.SerializeToString()))
    for name in ("published_time_ms", "created_time_ms"):
        pin = pins_pb2.EnrichedPin(pin=pins_pb2.Pin(pin_id="p"))
        setattr(pin.pin, name, time_ms)
        with pytest.raises(Corrupt, match=name):
            pin_changes([record(pin.SerializeToString())])
    vector = indexer_pb2.UserVector(encoder="e", vector=common_pb2.Tensor(), computed_time_ms=time_ms)
    with pytest.raises(Corrupt, match="computed_time_ms"):
        vectors_of([record(indexer_pb2.UserEmbedding(user_id="u", vector=vector).SerializeToString())])


def test_numbers_and_texts_beyond_their_column_are_corrupt() -> None:
    shown = blender_pb2.ServedCandidate(pin_id="p", position=0)
    feed = blender_pb2.ServedFeed(request_id="r", user_id="u", sequence_version=2**64 - 1, candidates=[shown])
    with pytest.raises(Corrupt, match="no rows"):
        rows_of(feed_of(record(feed.SerializeToString())))
    vector = indexer_pb2.UserVector(encoder="e", encoder_version="v" * 70_000)
    with pytest.raises(Corrupt, match="version"):
        vectors_of([record(indexer_pb2.UserEmbedding(user_id="u", vector=vector).SerializeToString())])
