"""The whole service over real gRPC and an in-memory Kafka."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from chassis.bundles import BundleStore
from chassis.kafka import arrow
from chassis.kafka.partitioner import partition_for
from chassis.testing import FakeClock, InMemoryBus, eventually
from protos import event_schema, topics
from protos.ingest.v1 import ingest_pb2 as pb
from protos.ingest.v1 import ingest_pb2_grpc
from protos.pins.v1 import pins_pb2
from protos.quota.v1 import quota_pb2
from protos.releases import encode_release
from protos.tensors import numpy_to_tensor
from sequences.definitions.compile import write_bundle
from sequences.definitions.testing import repository_definitions
from services.ingest.config import Config
from services.ingest.wiring import build


def release(bus: InMemoryBus, folder: Path) -> None:
    released = write_bundle(repository_definitions(), BundleStore(str(folder / "bundles")))
    bus.append(topics.DEFINITIONS_RELEASED, encode_release(released), released.name.encode(), None, {})


@asynccontextmanager
async def serving(
    bus: InMemoryBus, folder: Path, clock: FakeClock, **settings: Any
) -> AsyncIterator["ingest_pb2_grpc.IngestServiceAsyncStub"]:
    config = Config(
        grpc_port=0,
        admin_port=0,
        bundles_uri=str(folder / "bundles"),
        state_dir=str(folder / "state"),
        drain_s=0.2,
        **settings,
    )
    service = build(config, bus=bus, clock=clock)
    async with service:
        port = service._doors[0].port  # type: ignore[attr-defined]
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield ingest_pb2_grpc.IngestServiceStub(channel)


@pytest.fixture
def bus(tmp_path: Path) -> InMemoryBus:
    bus = InMemoryBus()
    release(bus, tmp_path)
    return bus


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def event(clock: FakeClock, event_id: str, user_id: str = "u-1") -> pb.Event:
    return pb.Event(
        event_id=event_id,
        user_id=user_id,
        event_type="click",
        event_time_ms=clock.now_ms(),
        pin_id="p-1",
        surface="home",
    )


async def test_accepted_events_are_in_kafka_when_the_answer_comes(
    bus: InMemoryBus, clock: FakeClock, tmp_path: Path
) -> None:
    async with serving(bus, tmp_path, clock) as stub:
        events = [event(clock, f"e-{number}", f"u-{number % 7}") for number in range(50)]
        answer = await stub.PublishEvents(pb.PublishEventsRequest(events=[*events, pb.Event(event_id="bad")]))
        assert [each.outcome for each in answer.verdicts] == [pb.OUTCOME_ACCEPTED] * 50 + [pb.OUTCOME_REJECTED]
        assert (answer.verdicts[50].id, answer.verdicts[50].field) == ("bad", "user_id")
        assert answer.definitions_version == repository_definitions().version
        rows = []
        for record in bus.records(topics.EVENTS_ACCEPTED):
            batch = arrow.decode(record.value)
            assert batch.schema.equals(event_schema.ACCEPTED)
            for row in batch.to_pylist():
                assert partition_for(row["user_id"], topics.EVENTS_ACCEPTED.num_partitions) == record.partition
                rows.append(row)
        assert sorted(row["event_id"] for row in rows) == sorted(each.event_id for each in events)
        assert {row["received_time_ms"] for row in rows} == {clock.now_ms()}
        assert len({row["traceparent"] for row in rows}) == 1
        assert rows[0]["traceparent"].startswith("00-")
        again = await stub.PublishEvents(pb.PublishEventsRequest(events=events))
        assert {each.outcome for each in again.verdicts} == {pb.OUTCOME_DUPLICATE}


async def test_kafka_away_is_unavailable_with_retry_info_and_nothing_is_acknowledged(
    bus: InMemoryBus, clock: FakeClock, tmp_path: Path
) -> None:
    async with serving(bus, tmp_path, clock) as stub:
        bus.is_available = False
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await stub.PublishEvents(pb.PublishEventsRequest(events=[event(clock, "a")]))
        assert error.value.code() == grpc.StatusCode.UNAVAILABLE
        assert b"RetryInfo" in dict(error.value.trailing_metadata())["grpc-status-details-bin"]
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await stub.PublishPins(pb.PublishPinsRequest(pins=[pins_pb2.Pin(pin_id="p")]))
        assert error.value.code() == grpc.StatusCode.UNAVAILABLE
        bus.is_available = True
        answer = await stub.PublishEvents(pb.PublishEventsRequest(events=[event(clock, "a")]))
        assert answer.verdicts[0].outcome == pb.OUTCOME_ACCEPTED
        assert len(bus.records(topics.EVENTS_ACCEPTED)) == 1


async def test_without_definitions_the_door_says_unavailable_until_a_bundle_comes(
    clock: FakeClock, tmp_path: Path
) -> None:
    bus = InMemoryBus()
    async with serving(bus, tmp_path, clock) as stub:
        request = pb.PublishEventsRequest(events=[event(clock, "a")])
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await stub.PublishEvents(request)
        assert error.value.code() == grpc.StatusCode.UNAVAILABLE
        await asyncio.to_thread(release, bus, tmp_path)

        async def is_accepted() -> bool:
            try:
                return (await stub.PublishEvents(request)).verdicts[0].outcome == pb.OUTCOME_ACCEPTED
            except grpc.aio.AioRpcError:
                return False

        await eventually(is_accepted, within_s=5)


async def test_more_than_memory_allows_is_refused(bus: InMemoryBus, clock: FakeClock, tmp_path: Path) -> None:
    async with serving(bus, tmp_path, clock, max_pending_bytes=2048) as stub:
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await stub.PublishEvents(pb.PublishEventsRequest(events=[event(clock, str(i)) for i in range(100)]))
        assert error.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert bus.records(topics.EVENTS_ACCEPTED) == []


async def test_a_tenant_pays_by_event(bus: InMemoryBus, clock: FakeClock, tmp_path: Path) -> None:
    rule = quota_pb2.Rule(key="surface/ingest/PublishEvents/*", limit=10, period_s=60, unit="events", owner="t", tier=1)
    version = quota_pb2.RuleVersion(rule=rule, version=1, state=quota_pb2.RULE_STATE_PUBLISHED)
    bus.append(topics.QUOTA_RULES, version.SerializeToString(), rule.key.encode(), None, {})
    async with serving(bus, tmp_path, clock) as stub:
        outcomes = []
        for number in range(40):
            request = pb.PublishEventsRequest(events=[event(clock, f"{number}")], tenant="greedy")
            try:
                await stub.PublishEvents(request)
                outcomes.append("ok")
            except grpc.aio.AioRpcError as error:
                outcomes.append(error.code().name)
        assert set(outcomes) == {"ok", "RESOURCE_EXHAUSTED"}
        other = pb.PublishEventsRequest(events=[event(clock, "x")], tenant="modest")
        assert (await stub.PublishEvents(other)).verdicts[0].outcome == pb.OUTCOME_ACCEPTED


async def test_pins_are_normalised_and_deletes_become_tombstones(
    bus: InMemoryBus, clock: FakeClock, tmp_path: Path
) -> None:
    pins = [
        pins_pb2.Pin(pin_id="a", title="Chair", link="HTTPS://Shop.example:443/c?utm_source=x&b=2&a=1#top"),
        pins_pb2.Pin(pin_id="b", link="https://shop.example/c?a=1&b=2"),
        pins_pb2.Pin(pin_id="c", link="javascript:alert(1)"),
        pins_pb2.Pin(pin_id="d", given_vector=numpy_to_tensor(np.ones(3, np.float32))),
        pins_pb2.Pin(pin_id="a", is_deleted=True),
    ]
    async with serving(bus, tmp_path, clock) as stub:
        answer = await stub.PublishPins(pb.PublishPinsRequest(pins=pins))
        assert [(each.id, each.code, each.field) for each in answer.verdicts] == [
            ("a", "", ""),
            ("b", "", ""),
            ("c", "invalid_field", "link"),
            ("d", "invalid_field", "given_vector"),
            ("a", "", ""),
        ]
        values = [record.value for record in bus.records(topics.PINS_PUBLISHED) if record.key == b"a"]
        assert values[1] is None
        first = pins_pb2.Pin.FromString(values[0] or b"")
        [second] = [
            pins_pb2.Pin.FromString(record.value or b"")
            for record in bus.records(topics.PINS_PUBLISHED)
            if record.key == b"b"
        ]
        assert first.link == second.link == "https://shop.example/c?a=1&b=2"
        assert first.content_group == second.content_group != ""
        assert first.published_time_ms == clock.now_ms()
