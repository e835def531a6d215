"""The shell: everything a service has before it has a purpose, on a fake bus and real gRPC."""

import asyncio
import json
import time
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from chassis import tracing
from chassis.admin import AdminServer
from chassis.config import ServiceConfig
from chassis.errors import Overloaded, Unavailable
from chassis.grpc.server import GrpcDoor
from chassis.kafka.topic import Topic
from chassis.lifecycle import Service
from chassis.shell import Contracts, Shell
from chassis.testing import InMemoryBus, eventually
from chassis.tests.grpc_world import SERVICE, ScriptedQuota, get_rule
from chassis.tests.parts import RecordingPart
from chassis.tests.test_rule_feed import RULES, USAGE, decode, encode, put
from protos.quota.v1 import quota_pb2_grpc as rpc

CONTRACTS = Contracts(rules_topic=RULES, decode_rule=decode, usage_topic=USAGE, encode_usage=encode)
OTHER = Topic("other", key="key", value="text", owner="tests", consumers=("tests",), num_partitions=1)


def configured(tmp_path: Path, **fields: Any) -> ServiceConfig:
    return ServiceConfig(state_dir=str(tmp_path), zone="az-a", instance="test-1", drain_s=1.0, **fields)


@asynccontextmanager
async def running(shell: Shell) -> AsyncIterator[GrpcDoor]:
    """A service with one door whose calls are charged to `quota/GetRule/<key>`."""
    door = shell.grpc_door(
        [(rpc.add_QuotaServiceServicer_to_server, ScriptedQuota(), SERVICE)],
        resource_of=lambda _, request: (f"quota/GetRule/{request.key}", 1.0),
    )
    async with shell.service(parts=[], doors=[door]):
        yield door


def admin_page(service: Service, path: str) -> Any:
    (admin,) = [part for part in service._parts if isinstance(part, AdminServer)]
    with urllib.request.urlopen(f"http://127.0.0.1:{admin.port}{path}", timeout=5) as answer:
        return answer.read()


async def test_a_call_goes_through_the_door_with_tracing_metrics_and_health(tmp_path: Path) -> None:
    shell = Shell("test", configured(tmp_path), CONTRACTS, bus=InMemoryBus())
    async with running(shell) as door:
        assert await get_rule(shell.channel(door.address), "a") == "a"
        assert b"grpc_server" in shell.metrics.exposition()
        async with grpc.aio.insecure_channel(door.address) as channel:
            checked = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=SERVICE))
        assert checked.status == health_pb2.HealthCheckResponse.SERVING
        with tracing.span("x") as span:
            assert span.is_recording()


async def test_rules_that_arrive_are_enforced_and_usage_goes_home(tmp_path: Path) -> None:
    bus = InMemoryBus()
    await put(bus, "quota/GetRule/a", "quota/GetRule/a 1")
    shell = Shell("test", configured(tmp_path), CONTRACTS, bus=bus)
    async with running(shell) as door:
        pool = shell.channel(door.address)
        await get_rule(pool, "a")
        with pytest.raises(Overloaded) as raised:
            await get_rule(pool, "a")
        assert raised.value.retry_after_s
        await get_rule(pool, "b")
    (record,) = bus.records(USAGE)
    assert record.value == b"quota/GetRule/a 1.0 test test-1 az-a"


async def test_a_service_starts_serves_and_stops_without_kafka(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chassis.protection.feed.CATCH_UP_S", 0.05)
    monkeypatch.setattr("chassis.protection.feed.RETRY_S", 0.05)
    bus = InMemoryBus()
    bus.is_available = False
    shell = Shell("test", configured(tmp_path), CONTRACTS, bus=bus)
    async with running(shell) as door:
        assert await get_rule(shell.channel(door.address), "a") == "a"
        assert shell.health.is_ready()
        bus.is_available = True
        await put(bus, "quota", "quota 1")
        await eventually(lambda: [rule.key for rule in shell.protection.rules] == ["quota"], within_s=5)


async def test_a_service_starts_and_stops_with_a_real_bus_and_no_broker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chassis.protection.feed.CATCH_UP_S", 0.1)
    monkeypatch.setattr("chassis.kafka.producer.ACK_WITHIN_S", 0.3)
    shell = Shell("test", configured(tmp_path, kafka_bootstrap="127.0.0.1:9"), CONTRACTS)
    async with running(shell) as door:
        assert await get_rule(shell.channel(door.address), "a") == "a"
        with pytest.raises(Unavailable):
            await shell.producer.send(OTHER, b"x")
        begun_s = time.monotonic()
    assert time.monotonic() - begun_s < 6.0


async def test_admin_port_tells_settings_and_readiness(tmp_path: Path) -> None:
    config = configured(tmp_path, kafka_bootstrap="kafka://u:hunter2@127.0.0.1:9")
    shell = Shell("test", config, CONTRACTS, bus=InMemoryBus())
    async with shell.service(parts=[], doors=[]) as service:
        settings = json.loads(await asyncio.to_thread(admin_page, service, "/config"))
        assert (settings["zone"], settings["kafka_bootstrap"]) == ("az-a", "kafka://***@127.0.0.1:9")
        assert json.loads(await asyncio.to_thread(admin_page, service, "/readyz"))["serving"] == "ok"
        assert json.loads(await asyncio.to_thread(admin_page, service, "/bundles")) == {}


async def test_own_parts_start_after_the_common_ones_and_before_the_doors(tmp_path: Path) -> None:
    events: list[str] = []
    shell = Shell("test", configured(tmp_path), CONTRACTS, bus=InMemoryBus())
    parts, doors = [RecordingPart("store", events)], [RecordingPart("door", events)]
    async with shell.service(parts=parts, doors=doors) as service:
        names = [part.name for part in service._started]
    assert names == ["tracing", "admin", "in-memory producer", "peers", "rules", "usage", "store", "door"]
    assert events[:2] == ["start store", "start door"]


async def test_same_target_is_the_same_pool_and_closes_with_the_service(tmp_path: Path) -> None:
    shell = Shell("test", configured(tmp_path), CONTRACTS, bus=InMemoryBus())
    async with running(shell) as door:
        late = shell.channel(door.address)
        assert shell.channel(door.address) is late
        assert shell.channel("127.0.0.1:9") is not late
        await get_rule(late)
    with pytest.raises(Unavailable):
        await get_rule(late)
