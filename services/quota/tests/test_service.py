"""The whole service on fakes, through its real gRPC door."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import aio

from chassis.deadline import Deadline
from chassis.grpc.server import GrpcDoor
from chassis.lifecycle import Service
from chassis.protection import UsageWindow
from chassis.testing import FakeClock, InMemoryBus, eventually
from protos.quota.v1 import quota_pb2 as pb
from protos.quota.v1 import quota_pb2_grpc as rpc
from protos.rules import decode_rule, encode_usage
from protos.topics import QUOTA_RULES, QUOTA_USAGE
from services.quota.config import Config
from services.quota.offline.rebuild import rebuild
from services.quota.wiring import build, open_ledger

KEY = "surface/blender/GetFeed/default"


class Running:
    """A started service and its stubs."""

    def __init__(self, channel: aio.Channel, bus: InMemoryBus, clock: FakeClock) -> None:
        self.quota: Any = rpc.QuotaServiceStub(channel)
        self.lease: Any = rpc.LeaseServiceStub(channel)
        self.usage: Any = rpc.UsageServiceStub(channel)
        self.bus, self.clock = bus, clock

    async def publish(
        self, limit: float = 10.0, seen: int = 0, key: str = KEY, safe_share: float = 0.0
    ) -> pb.RuleVersion:
        """A published rule; global, so that leases share it, when `safe_share` is given."""
        rule = pb.Rule(key=key, limit=limit, period_s=1.0, burst=limit, unit="requests", owner="team", tier=3)
        rule.safe_share, rule.is_global = safe_share, safe_share > 0
        created = await self.quota.CreateRule(
            pb.CreateRuleRequest(rule=rule, expected_version=seen, actor="ann", why="because")
        )
        version = created.rule_version.version
        ref = pb.RuleRef(key=key, version=version, actor="ann", why="because")
        validated = await self.quota.ValidateRule(ref)
        assert list(validated.violations) == []
        await self.quota.ApproveRule(pb.ApproveRuleRequest(ref=pb.RuleRef(key=key, version=version, actor="ann")))
        published: pb.RuleVersion = (await self.quota.PublishRule(ref)).rule_version
        return published


def config(folder: Path, ledger_url: str = "") -> Config:
    return Config(
        grpc_port=0,
        admin_port=0,
        ledger_path=str(folder / "quota.sqlite"),
        ledger_url=ledger_url,
        state_dir=str(folder / "state"),
        groups="team=ann,bob",
        drain_s=0.2,
    )


def door_of(service: Service) -> GrpcDoor:
    (door,) = (part for part in service._doors if isinstance(part, GrpcDoor))
    return door


@asynccontextmanager
async def serving(folder: Path, bus: InMemoryBus, clock: FakeClock, ledger_url: str = "") -> AsyncIterator[Running]:
    service = build(config(folder, ledger_url), bus=bus, clock=clock)
    async with service, aio.insecure_channel(door_of(service).address) as channel:
        yield Running(channel, bus, clock)


@pytest.fixture
async def running(tmp_path: Path, address: tuple[str, str]) -> AsyncIterator[Running]:
    async with serving(tmp_path, InMemoryBus(), FakeClock(), address[1]) as started:
        yield started


async def test_published_rule_is_on_the_topic_and_a_revoked_one_is_a_tombstone(running: Running) -> None:
    published = await running.publish()
    assert (published.version, published.state) == (1, pb.RULE_STATE_PUBLISHED)
    await running.quota.RevokeRule(pb.RuleRef(key=KEY, version=1, actor="bob", why="done"))
    first, last = running.bus.records(QUOTA_RULES)
    assert decode_rule(first.value or b"").limit == 10.0
    assert (first.key, last.key, last.value) == (KEY.encode(), KEY.encode(), None)
    listed = await running.quota.ListRules(pb.ListRulesRequest(key_prefix="surface/"))
    assert [v.state for v in listed.rule_versions] == [pb.RULE_STATE_REVOKED]
    history = await running.quota.History(pb.RuleRef(key=KEY))
    assert [record.action for record in history.records] == ["create", "validate", "approve", "publish", "revoke"]
    assert not history.records[0].HasField("before")


async def test_stale_writer_is_aborted_with_the_current_version(running: Running) -> None:
    await running.publish()
    with pytest.raises(aio.AioRpcError) as refused:
        await running.publish(20.0, seen=0)
    assert refused.value.code() is grpc.StatusCode.ABORTED
    assert "at version 1, published" in (refused.value.details() or "")


async def test_violations_come_back_by_field(running: Running) -> None:
    rule = pb.Rule(key=KEY, limit=-1, period_s=1, unit="wishes", owner="team")
    await running.quota.CreateRule(pb.CreateRuleRequest(rule=rule, actor="ann"))
    answer = await running.quota.ValidateRule(pb.RuleRef(key=KEY, actor="ann"))
    assert {violation.field for violation in answer.violations} == {"limit", "unit"}
    assert answer.rule_version.state == pb.RULE_STATE_DRAFT


@pytest.mark.parametrize(
    ("code", "ref"),
    [
        (grpc.StatusCode.NOT_FOUND, pb.RuleRef(key="nothing", actor="ann")),
        (grpc.StatusCode.PERMISSION_DENIED, pb.RuleRef(key=KEY, actor="eve")),
        (grpc.StatusCode.INVALID_ARGUMENT, pb.RuleRef(key=KEY)),
    ],
)
async def test_refused_steps_have_their_status(running: Running, code: grpc.StatusCode, ref: pb.RuleRef) -> None:
    await running.publish()
    with pytest.raises(aio.AioRpcError) as refused:
        await running.quota.RevokeRule(ref)
    assert refused.value.code() is code


async def test_watch_streams_published_changes(running: Running) -> None:
    await running.publish()
    stream = running.quota.WatchRules(pb.ListRulesRequest(key_prefix="surface/"))
    assert (await stream.read()).rule_version.version == 1
    await running.publish(12.0, seen=1)
    assert (await stream.read()).rule_version.rule.limit == 12.0
    stream.cancel()


async def test_leases_share_the_limit_and_name_their_epoch(running: Running) -> None:
    await running.publish(100.0, safe_share=0.5)
    first = await running.lease.Acquire(pb.AcquireRequest(key=KEY, client_id="one", demand=1e18))
    assert (first.rate, first.epoch, first.duration_ms) == (pytest.approx(50.0), 1, 10_000)
    second = await running.lease.Acquire(pb.AcquireRequest(key=KEY, client_id="two", demand=100))
    assert second.rate == pytest.approx(50.0)
    renewed = await running.lease.Renew(
        pb.RenewRequest(lease_id=first.lease_id, client_id="one", demand=1e18, held_rate=50.0)
    )
    assert renewed.rate == pytest.approx(50.0)
    released = await running.lease.Release(pb.ReleaseRequest(lease_id=first.lease_id, client_id="one"))
    assert released.is_released
    with pytest.raises(aio.AioRpcError) as refused:
        await running.lease.Renew(pb.RenewRequest(lease_id=second.lease_id, client_id="thief"))
    assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
    with pytest.raises(aio.AioRpcError) as refused:
        await running.lease.Acquire(pb.AcquireRequest(key="nothing", client_id="one", demand=1))
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND


async def test_restarted_leader_grants_only_when_older_leases_are_over(tmp_path: Path) -> None:
    bus, clock = InMemoryBus(), FakeClock()
    async with serving(tmp_path, bus, clock) as before:
        await before.publish(100.0, safe_share=1.0)
        await before.publish(5.0, key="local")
        await before.lease.Acquire(pb.AcquireRequest(key=KEY, client_id="one", demand=100))
        with pytest.raises(aio.AioRpcError, match="is not global"):
            await before.lease.Acquire(pb.AcquireRequest(key="local", client_id="one", demand=100))
    async with serving(tmp_path, bus, clock) as after:
        with pytest.raises(aio.AioRpcError) as refused:
            await after.lease.Acquire(pb.AcquireRequest(key=KEY, client_id="two", demand=100))
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
        for _ in range(20):
            clock.advance(1.0)
            await asyncio.sleep(0.01)
        lease = await after.lease.Acquire(pb.AcquireRequest(key=KEY, client_id="two", demand=100))
        assert (lease.rate, lease.epoch) == (pytest.approx(100.0), 2)


async def test_usage_from_the_topic_is_summed_once_and_poison_is_parked(running: Running) -> None:
    producer = running.bus.producer()
    now_ms = running.clock.now_ms()
    windows = [
        UsageWindow(KEY, now_ms - 1_000, 1_000, 5.0, 2.0, 0.0, 1, "blender", instance, "local")
        for instance in ("one", "two", "two")
    ]
    for window in windows:
        await producer.send(QUOTA_USAGE, encode_usage(window), key=KEY.encode())
    await producer.send(QUOTA_USAGE, b"\xff\xff", key=KEY.encode())

    async def admitted() -> float:
        answer = await running.usage.QueryUsage(pb.QueryUsageRequest(key_prefix="surface/"))
        return float(sum(window.admitted for window in answer.windows))

    async def is_summed() -> bool:
        return await admitted() == 10.0

    await eventually(is_summed, within_s=5)
    await eventually(lambda: len(running.bus.records(QUOTA_USAGE.parked)) == 1, within_s=5)
    assert await admitted() == 10.0


async def test_rightsizing_proposes_from_recorded_usage(running: Running) -> None:
    await running.publish(100.0)
    producer = running.bus.producer()
    minute_ms = running.clock.now_ms() // 60_000 * 60_000
    for minute in range(30, 0, -1):
        window = UsageWindow(KEY, minute_ms - minute * 60_000, 60_000, 6_000.0, 0.0, 0.0, 1, "blender", "one", "local")
        await producer.send(QUOTA_USAGE, encode_usage(window), key=KEY.encode())

    async def is_proposed() -> bool:
        answer = await running.usage.ProposeRightsizing(pb.ProposeRightsizingRequest())
        return [proposal.proposed.limit for proposal in answer.proposals] == [pytest.approx(120.0)]

    await eventually(is_proposed, within_s=5)


async def test_without_kafka_a_change_is_kept_and_sent_when_it_is_back(running: Running) -> None:
    running.bus.is_available = False
    with pytest.raises(aio.AioRpcError) as refused:
        await running.publish()
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    listed = await running.quota.ListRules(pb.ListRulesRequest(is_published_only=True))
    assert [v.rule.key for v in listed.rule_versions] == [KEY]
    running.bus.is_available = True
    running.clock.advance(1.0)
    await eventually(lambda: len(running.bus.records(QUOTA_RULES)) == 1, within_s=5)


async def test_service_starts_without_kafka(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chassis.protection.feed.CATCH_UP_S", 0.05)
    bus = InMemoryBus()
    bus.is_available = False
    async with serving(tmp_path, bus, FakeClock()) as running:
        rule = pb.Rule(key=KEY, limit=1, period_s=1, unit="requests", owner="team")
        created = await running.quota.CreateRule(pb.CreateRuleRequest(rule=rule, actor="ann"))
        assert created.rule_version.version == 1


async def test_lost_ledger_is_rebuilt_from_the_topic(tmp_path: Path, address: tuple[str, str]) -> None:
    bus, clock = InMemoryBus(), FakeClock()
    async with serving(tmp_path / "old", bus, clock) as old:
        await old.publish()
        await old.publish(11.0, seen=1)
        await old.publish(5.0, key="other")
        await old.quota.RevokeRule(pb.RuleRef(key="other", actor="ann"))
    ledger = open_ledger(str(tmp_path / "new" / "quota.sqlite"), address[1])
    await ledger.database.open()
    assert await rebuild(bus, ledger.rules, clock) == 1
    await ledger.database.stop(Deadline.after(1.0))
    async with serving(tmp_path / "new", bus, clock, address[1]) as new:
        found = (await new.quota.GetRule(pb.RuleRef(key=KEY))).rule_version
        assert (found.version, found.rule.limit, found.state) == (2, 11.0, pb.RULE_STATE_PUBLISHED)
        assert (await new.publish(12.0, seen=2)).version == 3
