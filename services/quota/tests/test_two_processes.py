"""Two processes on one ledger: one leads, both take steps, and no invariant depends on which of them is asked."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from grpc import aio

from chassis.errors import Conflict, Invalid
from chassis.metrics import Metrics
from chassis.protection.rule import Rule
from chassis.testing import FakeClock, InMemoryBus, eventually
from protos.quota.v1 import quota_pb2 as pb
from protos.topics import QUOTA_RULES
from services.quota.app.checks import Checks, chosen_checks
from services.quota.domain.rule_version import RuleState
from services.quota.domain.validation import Violation
from services.quota.tests.test_lifecycle import World
from services.quota.tests.test_service import KEY, Running, serving
from services.quota.wiring import Ledger


@pytest.fixture
async def two(tmp_path: Path, address: tuple[str, str]) -> AsyncIterator[tuple[Running, Running]]:
    """(the leader, a standby); the clock moves by itself."""
    bus, clock = InMemoryBus(), FakeClock()

    async def move() -> None:
        while True:
            await asyncio.sleep(0.02)
            clock.advance(0.2)

    async with AsyncExitStack() as stack:
        leader = await stack.enter_async_context(serving(tmp_path, bus, clock, address[1]))
        standby = await stack.enter_async_context(serving(tmp_path, bus, clock, address[1]))
        moving = asyncio.create_task(move())
        stack.callback(moving.cancel)
        yield leader, standby


async def test_what_a_standby_publishes_is_sent_by_the_leader(two: tuple[Running, Running]) -> None:
    leader, standby = two
    published = await standby.publish()
    assert published.state == pb.RULE_STATE_PUBLISHED
    assert [record.key for record in leader.bus.records(QUOTA_RULES)] == [KEY.encode()]


async def test_whoever_watches_a_standby_sees_what_the_leader_publishes(two: tuple[Running, Running]) -> None:
    leader, standby = two
    await leader.publish()
    stream = standby.quota.WatchRules(pb.ListRulesRequest(key_prefix="surface/"))
    assert (await stream.read()).rule_version.version == 1
    await leader.publish(12.0, seen=1)
    assert (await stream.read()).rule_version.rule.limit == 12.0
    await leader.quota.RevokeRule(pb.RuleRef(key=KEY, actor="ann"))
    assert (await stream.read()).rule_version.state == pb.RULE_STATE_REVOKED
    stream.cancel()


async def test_standby_sends_by_itself_once_the_leader_is_gone(tmp_path: Path, address: tuple[str, str]) -> None:
    bus, clock = InMemoryBus(), FakeClock()
    async with AsyncExitStack() as stack:
        leader = AsyncExitStack()
        await leader.enter_async_context(serving(tmp_path, bus, clock, address[1]))
        standby = await stack.enter_async_context(serving(tmp_path, bus, clock, address[1]))
        await leader.aclose()
        with pytest.raises(aio.AioRpcError, match="does not take it now"):
            await standby.publish()  # it does not know yet that it leads
        for _ in range(20):
            clock.advance(1.0)
            await asyncio.sleep(0.02)
        await eventually(lambda: len(bus.records(QUOTA_RULES)) == 1, within_s=5)
        await standby.publish(11.0, seen=1)
        assert len(bus.records(QUOTA_RULES)) == 2


class Both:
    """A check that lets two publishers both look before either of them writes."""

    name = "both"

    def __init__(self) -> None:
        self._barrier = asyncio.Barrier(2)

    async def check(self, rule: Rule, published: Sequence[Rule]) -> Sequence[Violation]:
        if not any(other.key != rule.key and other.key.startswith("surface/") for other in published):
            await self._barrier.wait()
        return []


async def test_two_children_published_at_once_never_pass_their_parent(ledger: Ledger) -> None:
    one, two = World(ledger), World(ledger)
    await one.publish(await one.create(10.0, key="surface"), key="surface")
    for world, key in ((one, "surface/a"), (two, "surface/b")):
        await world.create(6.0, key=key)
        await world.lifecycle.validate(key, 1, "ann", "")
        await world.lifecycle.approve(key, 1, "bob", "")
    both = Both()
    for world in (one, two):
        world.lifecycle._checks = Checks([*chosen_checks("parent"), both], 2.0, Metrics("test"))
    outcomes = await asyncio.gather(
        one.lifecycle.publish("surface/a", 1, "ann", ""),
        two.lifecycle.publish("surface/b", 1, "ann", ""),
        return_exceptions=True,
    )
    published = await ledger.rules.list_rules("surface/", is_published_only=True)
    assert len(published) == 1
    (refused,) = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
    assert isinstance(refused, Invalid | Conflict), refused
    assert "sum up to 12" in str(refused)
    drafts = [version.state for version in await ledger.rules.list_rules("surface/", is_published_only=False)]
    assert sorted(drafts) == [RuleState.APPROVED, RuleState.PUBLISHED]
