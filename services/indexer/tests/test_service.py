"""The whole service over real gRPC, with a bus and stores in memory."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from chassis.bundles import BundleStore
from chassis.errors import Invalid, NotFound, PermissionDenied, Unavailable
from chassis.grpc.client import ChannelPool
from chassis.kafka import arrow
from chassis.kafka.topic import Topic
from chassis.lifecycle import Service
from chassis.testing import InMemoryBus, eventually
from protos import topics
from protos.blender.v1 import blender_pb2
from protos.indexer.v1 import indexer_pb2 as pb
from protos.indexer.v1 import indexer_pb2_grpc as rpc
from protos.pins.v1 import pins_pb2
from protos.releases import encode_release
from protos.tables import table_to_batch
from protos.tensors import numpy_to_tensor, tensor_to_numpy
from sequences.definitions.bundle import FILE
from sequences.definitions.definitions import Definitions
from services.indexer import wiring
from services.indexer.config import Config
from services.indexer.tests.conftest import CLOCK
from services.indexer.tests.in_memory_stores import (
    InMemoryPinStore,
    InMemorySequenceStore,
    InMemoryState,
    InMemoryUserStore,
)
from services.indexer.tests.samples import NOW_MS, definitions, envelope, event

SEQUENCES, FEATURES = rpc.SequenceServiceStub, rpc.FeatureServiceStub


@dataclass
class Running:
    """A started indexer and what surrounds it."""

    bus: InMemoryBus
    state: InMemoryState
    pool: ChannelPool
    service: Service

    async def call(self, stub: Any, method: str, request: Any) -> Any:
        return await self.pool.call(stub, method, request, timeout_s=5.0)

    def send_events(self, *events: dict[str, Any]) -> None:
        self.bus.append(topics.EVENTS_ENRICHED, arrow.encode(envelope(events)), b"0", 0, {})

    async def sequence(self, **values: Any) -> pb.GetSequenceResponse:
        request = pb.GetSequenceRequest(**{"user_id": "user-1", "sequence": "engagement"} | values)
        answer: pb.GetSequenceResponse = await self.call(SEQUENCES, "GetSequence", request)
        return answer

    async def user(self, surface: str = "home") -> pb.GetUserResponse:
        request = pb.GetUserRequest(user_id="user-1", surface=surface)
        answer: pb.GetUserResponse = await self.call(FEATURES, "GetUser", request)
        return answer

    async def pins(self, *pin_ids: str, columns: tuple[str, ...] = ()) -> pb.BatchGetPinsResponse:
        request = pb.BatchGetPinsRequest(pin_ids=pin_ids, columns=columns)
        answer: pb.BatchGetPinsResponse = await self.call(FEATURES, "BatchGetPins", request)
        return answer


def release(bus: InMemoryBus, folder: Path, released: Definitions) -> None:
    """Write and announce a definitions bundle."""
    made = BundleStore(str(folder)).write("definitions", released.version, {FILE: released.canonical_json()})
    bus.append(topics.DEFINITIONS_RELEASED, encode_release(made), b"definitions", 0, {})


def private(found: Definitions) -> Definitions:
    """The same definitions, with the negative sequence for one tenant only."""
    sequences = dict(found.sequences)
    sequences["negative"] = sequences["negative"].model_copy(update={"tenants": ("trust",)})
    return found.model_copy(update={"sequences": sequences})


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    bus, state = InMemoryBus(), InMemoryState(CLOCK)
    release(bus, tmp_path / "bundles", private(definitions()))
    config = Config(bundles_uri=str(tmp_path / "bundles"), state_dir=str(tmp_path / "state"), drain_s=0.1)
    store = wiring.OnlineStore(InMemorySequenceStore(state), InMemoryUserStore(state), InMemoryPinStore(state))
    service = wiring.build(config, bus=bus, store=store, clock=CLOCK)
    async with service:
        pool = ChannelPool(f"127.0.0.1:{grpc_port(service)}")
        yield Running(bus, state, pool, service)
        await pool._caller.close()


def grpc_port(service: Service) -> int:
    door: Any = service._doors[0]
    return int(door.port)


async def test_an_event_becomes_readable_with_its_trace(running: Running) -> None:
    running.send_events(event(1, traceparent="00-aa-bb-01", dwell_s=1.5), event(2))

    async def is_there() -> bool:
        return (await running.sequence()).num_total == 2

    await eventually(is_there)
    answer = await running.sequence(max_events=1, columns=["traceparent", "event_id"])
    batch = table_to_batch(answer.events)
    assert batch.to_pylist() == [{"traceparent": "", "event_id": "event-2"}]
    assert answer.newest_event_time_ms == NOW_MS - 3_600_000 + 2
    assert (answer.sequence_version, answer.completeness_ratio) == (NOW_MS, 1.0)
    assert answer.definitions_version


async def test_unknown_user_is_empty_with_schema(running: Running) -> None:
    batch = table_to_batch((await running.sequence(user_id="nobody")).events)
    assert batch.num_rows == 0
    assert "pin_topics" in batch.schema.names


@pytest.mark.parametrize(
    ("asked", "error", "named"),
    [
        ({"sequence": "dreams"}, NotFound, "dreams"),
        ({"columns": ["event_id", "shoe_size"]}, Invalid, "shoe_size"),
        ({"sequence": "negative", "tenant": "ads"}, PermissionDenied, "ads"),
        ({"user_id": ""}, Invalid, "user_id"),
        ({"user_id": "u" * 129}, Invalid, "user_id"),
        ({"max_events": -1}, Invalid, "max_events"),
    ],
)
async def test_wrong_questions_name_what_is_wrong(
    running: Running, asked: dict[str, Any], error: type[Exception], named: str
) -> None:
    with pytest.raises(error, match=named):
        await running.sequence(**asked)
    assert (await running.sequence(sequence="negative", tenant="trust")).num_total == 0


async def test_many_users_at_once(running: Running) -> None:
    running.send_events(event(1), event(2, user_id="user-2"))
    await eventually(lambda: len(running.state.users) == 2)
    request = pb.BatchGetSequencesRequest(user_ids=["user-2", "x", "user-1"], sequence="engagement")
    answer = await running.call(SEQUENCES, "BatchGetSequences", request)
    assert [each.num_total for each in answer.sequences] == [1, 0, 1]
    with pytest.raises(Invalid, match="1001"):
        request = pb.BatchGetSequencesRequest(user_ids=["u"] * 1001, sequence="engagement")
        await running.call(SEQUENCES, "BatchGetSequences", request)


async def test_a_sequence_is_described(running: Running) -> None:
    running.send_events(event(1, received_time_ms=NOW_MS - 500, dwell_s=1.0), event(2, received_time_ms=NOW_MS - 500))
    await eventually(lambda: "user-1" in running.state.users)

    async def is_measured() -> bool:
        found = await running.call(SEQUENCES, "DescribeSequence", pb.DescribeSequenceRequest(sequence="engagement"))
        return bool(found.freshness_p99_s == 0.5 and found.coverage_ratio["dwell_s"] == 0.5)

    await eventually(is_measured)
    found = await running.call(SEQUENCES, "DescribeSequence", pb.DescribeSequenceRequest(sequence="engagement"))
    assert pa.ipc.read_schema(pa.py_buffer(found.arrow_schema)).names[0] == "event_id"


def enriched_pin(pin_id: str, published_ms: int = 5, **values: Any) -> bytes:
    pin = pins_pb2.Pin(pin_id=pin_id, published_time_ms=published_ms, **values)
    vector = numpy_to_tensor(np.asarray([0.6, 0.8], np.float32))
    message = pins_pb2.EnrichedPin(pin=pin, content_vector=vector, quality_score=0.5, enriched_time_ms=7)
    return message.SerializeToString()


async def test_pins_are_put_changed_and_deleted(running: Running) -> None:
    for pin_id in ("a", "b"):
        value = enriched_pin(pin_id, title=pin_id, topics=["t"])
        running.bus.append(topics.PINS_ENRICHED, value, pin_id.encode(), 0, {})
    await eventually(lambda: len(running.state.pins) == 2)
    answer = await running.pins("b", "nowhere", "a", "b", columns=("title", "content_vector"))
    assert table_to_batch(answer.pins).column("title").to_pylist() == ["b", "a"]
    assert list(answer.missing) == ["nowhere"]
    assert table_to_batch(answer.pins).column("content_vector")[0].as_py() == pytest.approx([0.6, 0.8])
    running.bus.append(topics.PINS_ENRICHED, None, b"a", 0, {})
    await eventually(lambda: len(running.state.pins) == 1)
    with pytest.raises(Invalid, match="colour"):
        await running.pins("a", columns=("colour",))
    with pytest.raises(Invalid, match="2001"):
        await running.pins(*["a"] * 2001)


async def test_served_and_acted_pins_are_seen_and_hidden_ones_blocked(running: Running) -> None:
    feed = blender_pb2.ServedFeed(request_id="r", user_id="user-1", surface="home", served_time_ms=NOW_MS, locale="de")
    feed.candidates.add(pin_id="served", position=0)
    feed.candidates.add(pin_id="dropped", position=-1)
    running.bus.append(topics.FEEDS_SERVED, feed.SerializeToString(), b"0", 0, {})
    running.send_events(event(1, pin_id="saved"), event(2, pin_id="hidden", event_type="hide"))

    async def is_known() -> bool:
        answer = await running.user()
        return set(answer.seen_pin_ids) == {"served", "saved", "hidden"} and list(answer.blocked_pin_ids) == ["hidden"]

    await eventually(is_known)
    answer = await running.user()
    assert (dict(answer.profile), answer.sequence_version) == ({"locale": "de"}, NOW_MS)
    assert list((await running.user("search")).seen_pin_ids) == []
    with pytest.raises(NotFound, match="billboard"):
        await running.user("billboard")


async def test_user_vectors_come_back_with_their_version(running: Running) -> None:
    vector = pb.UserVector(
        encoder="two_tower", encoder_version="v1", computed_time_ms=3, vector=numpy_to_tensor(np.ones(3, np.float32))
    )
    value = pb.UserEmbedding(user_id="user-1", vector=vector).SerializeToString()
    running.bus.append(topics.EMBEDDINGS_PUBLISHED, value, b"user-1", 0, {})
    await eventually(lambda: "user-1" in running.state.users)
    request = pb.GetUserRequest(user_id="user-1", vectors=["two_tower", "other"])
    [found] = (await running.call(FEATURES, "GetUser", request)).vectors
    assert (found.encoder, found.encoder_version) == ("two_tower", "v1")
    assert tensor_to_numpy(found.vector).tolist() == [1.0] * 3


async def test_a_history_comes_with_the_user_as_it_comes_alone(running: Running) -> None:
    running.send_events(event(1), event(2), event(3))
    await eventually(lambda: "user-1" in running.state.users)
    columns = ("pin_id", "event_time_ms")
    wanted = pb.HistoryAsk(sequence="engagement", max_events=2, columns=columns)
    request = pb.GetUserRequest(user_id="user-1", surface="home", history=wanted)
    answer = await running.call(FEATURES, "GetUser", request)
    alone, plain = await running.sequence(max_events=2, columns=columns), await running.user()
    found = answer.history
    assert table_to_batch(found.events).equals(table_to_batch(alone.events))
    assert (found.sequence, found.max_events) == ("engagement", 2)
    assert (found.sequence_version, found.num_total) == (alone.sequence_version, alone.num_total)
    assert found.definitions_version == alone.definitions_version
    assert not plain.HasField("history")
    answer.ClearField("history")
    assert answer == plain


@pytest.mark.parametrize("columns", [(), ("shoe_size",)], ids=["unknown sequence", "unknown column"])
async def test_a_history_that_cannot_be_read_is_absent(running: Running, columns: tuple[str, ...]) -> None:
    wanted = pb.HistoryAsk(sequence="engagement" if columns else "dreams", columns=columns)
    request = pb.GetUserRequest(user_id="user-1", surface="home", history=wanted)
    answer = await running.call(FEATURES, "GetUser", request)
    assert not answer.HasField("history")
    assert answer == await running.user()


@pytest.mark.parametrize(
    "topic", [topics.EVENTS_ENRICHED, topics.FEEDS_SERVED, topics.PINS_ENRICHED, topics.EMBEDDINGS_PUBLISHED]
)
async def test_poison_is_parked_and_the_next_record_goes_on(running: Running, topic: Topic) -> None:
    running.bus.append(topic, b"\xff\xfe poison", b"k", 0, {})
    running.send_events(event(1))
    await eventually(lambda: len(running.bus.records(topic.parked)) == 1)
    await eventually(lambda: "user-1" in running.state.users)


async def test_a_store_that_is_away_is_unavailable_and_nothing_is_lost(running: Running) -> None:
    running.state.is_away = True
    running.send_events(event(1))
    with pytest.raises(Unavailable):
        await running.sequence()
    running.state.is_away = False
    await eventually(lambda: "user-1" in running.state.users, within_s=5)


async def test_not_ready_before_the_first_definitions(tmp_path: Path) -> None:
    bus, state = InMemoryBus(), InMemoryState(CLOCK)
    config = Config(bundles_uri=str(tmp_path / "bundles"), state_dir=str(tmp_path / "state"), drain_s=0.1)
    store = wiring.OnlineStore(InMemorySequenceStore(state), InMemoryUserStore(state), InMemoryPinStore(state))
    async with wiring.build(config, bus=bus, store=store, clock=CLOCK) as service:
        assert not service.health.is_ready()
        release(bus, tmp_path / "bundles", definitions())
        await eventually(service.health.is_ready)


async def test_the_lake_role_starts_without_an_online_store(tmp_path: Path) -> None:
    config = Config(role="lake", lake_dir=str(tmp_path), state_dir=str(tmp_path), drain_s=0.1)
    bus = InMemoryBus()
    async with wiring.build(config, bus=bus) as service:
        assert service.health.is_ready()
        bus.append(topics.EVENTS_ENRICHED, arrow.encode(envelope([event(1)])), b"0", 0, {})
        await eventually(lambda: bus.logs[topics.EVENTS_ENRICHED.name, 0] != [])
