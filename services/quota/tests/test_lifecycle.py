"""Rules live by their states, their owners and the ledger; the topic gets what is published, now or later."""

import asyncio

import pytest

from chassis.errors import Conflict, Invalid, NotFound, PermissionDenied, Unavailable
from chassis.health import Health
from chassis.metrics import Metrics
from chassis.protection.rule import Rule
from chassis.testing import FakeClock
from services.quota.app.checks import Checks, chosen_checks
from services.quota.app.dispatcher import Dispatcher
from services.quota.app.lifecycle import RuleLifecycle
from services.quota.app.rule_watch import RuleWatch
from services.quota.domain.authority import Authority
from services.quota.domain.rule_version import RuleState, RuleVersion
from services.quota.wiring import Ledger

KEY = "surface/blender/GetFeed/default"


class RecordingDispatch:
    """A topic that can be away."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, int]] = []
        self.is_away = False

    async def send(self, key: str, published: RuleVersion | None) -> None:
        if self.is_away:
            raise Unavailable("planted")
        self.sent.append((key, published.version if published else 0))


class World:
    """A life cycle over a real ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self.clock = clock = FakeClock()
        self.ledger, self.dispatch, self.watch = ledger, RecordingDispatch(), RuleWatch(ledger.rules)
        self.dispatcher = Dispatcher(
            (ledger.rules, ledger.rules), self.dispatch, self.watch, Health(), clock, retry_s=1.0
        )
        authority = Authority(frozenset({"root"}), {"feed": frozenset({"ann", "bob"})})
        checks = Checks(chosen_checks("owner,parent,shadowed"), 1.0, Metrics("test"))
        self.lifecycle = RuleLifecycle(ledger.rules, checks, self.dispatcher, authority, clock)

    async def create(
        self, limit: float = 10.0, seen: int = 0, key: str = KEY, actor: str = "ann", **fields: object
    ) -> int:
        rule = Rule(key, limit, owner="feed", **fields)  # type: ignore[arg-type]
        return (await self.lifecycle.create(rule, seen, actor, "because")).version

    async def publish(self, version: int, key: str = KEY, approver: str = "bob") -> RuleVersion:
        _, faults = await self.lifecycle.validate(key, version, "ann", "")
        assert faults == []
        await self.lifecycle.approve(key, version, approver, "")
        return await self.lifecycle.publish(key, version, "ann", "")


@pytest.fixture
def world(ledger: Ledger) -> World:
    return World(ledger)


async def test_whole_life_is_recorded_and_dispatched(world: World) -> None:
    await world.publish(await world.create())
    await world.publish(await world.create(12.0, seen=1))
    await world.lifecycle.revoke(KEY, 2, "bob", "not needed")
    assert world.dispatch.sent == [(KEY, 1), (KEY, 2), (KEY, 0)]
    history = await world.ledger.rules.history(KEY)
    steps = [(record.step.action, record.after.version, record.after.state.value) for record in history]
    assert steps == [
        ("create", 1, "draft"),
        ("validate", 1, "validated"),
        ("approve", 1, "approved"),
        ("publish", 1, "published"),
        ("create", 2, "draft"),
        ("validate", 2, "validated"),
        ("approve", 2, "approved"),
        ("publish", 1, "superseded"),
        ("publish", 2, "published"),
        ("revoke", 2, "revoked"),
    ]
    assert (history[-1].step.actor, history[-1].step.why) == ("bob", "not needed")


async def test_second_writer_gets_a_conflict_with_the_current_version(world: World) -> None:
    await world.create()
    with pytest.raises(Conflict, match="at version 1, draft; you saw 0"):
        await world.create(20.0)


async def test_two_writers_at_once_make_one_version(world: World) -> None:
    outcomes = await asyncio.gather(*(world.create(float(n)) for n in range(1, 5)), return_exceptions=True)
    assert [outcome for outcome in outcomes if outcome == 1] == [1]
    assert sum(isinstance(outcome, Conflict) for outcome in outcomes) == 3


async def test_publishing_again_changes_nothing(world: World) -> None:
    first = await world.publish(await world.create())
    assert await world.lifecycle.publish(KEY, 1, "ann", "again") == first
    assert world.dispatch.sent == [(KEY, 1)]


@pytest.mark.parametrize("step", ["approve", "publish"])
async def test_step_out_of_order_is_invalid(world: World, step: str) -> None:
    await world.create()
    with pytest.raises(Invalid, match="is draft"):
        await getattr(world.lifecycle, step)(KEY, 1, "ann", "")


async def test_draft_with_violations_stays_a_draft(world: World) -> None:
    await world.create(float("nan"))
    version, faults = await world.lifecycle.validate(KEY, 1, "ann", "")
    assert (version.state, [fault.field for fault in faults]) == (RuleState.DRAFT, ["limit"])


async def test_what_became_invalid_is_not_published(world: World) -> None:
    for key in ("surface/blender", "surface/cg"):
        await world.create(6.0, key=key)
        await world.lifecycle.validate(key, 1, "ann", "")
        await world.lifecycle.approve(key, 1, "bob", "")
    await world.publish(await world.create(10.0, key="surface"), key="surface")
    await world.lifecycle.publish("surface/blender", 1, "ann", "")
    with pytest.raises(Invalid, match=r"no longer valid.*sum up to 12"):
        await world.lifecycle.publish("surface/cg", 1, "ann", "")


async def test_large_change_needs_a_second_person(world: World) -> None:
    await world.publish(await world.create(10.0), approver="ann")
    await world.create(20.0, seen=1)
    await world.lifecycle.validate(KEY, 2, "ann", "")
    with pytest.raises(PermissionDenied, match="100%"):
        await world.lifecycle.approve(KEY, 2, "ann", "")
    assert (await world.lifecycle.approve(KEY, 2, "bob", "")).state is RuleState.APPROVED


async def test_tier_1_needs_a_second_person(world: World) -> None:
    await world.create(tier=1)
    await world.lifecycle.validate(KEY, 1, "ann", "")
    with pytest.raises(PermissionDenied, match="tier 1"):
        await world.lifecycle.approve(KEY, 1, "ann", "")


async def test_strangers_change_nothing(world: World) -> None:
    await world.create()
    for step in ("validate", "approve", "publish", "revoke"):
        with pytest.raises(PermissionDenied):
            await getattr(world.lifecycle, step)(KEY, 1, "eve", "")
    with pytest.raises(PermissionDenied):
        await world.create(1.0, seen=1, actor="eve")
    with pytest.raises(NotFound):
        await world.lifecycle.validate("nothing", 0, "root", "")


async def test_rule_published_while_the_topic_is_away_is_sent_when_it_is_back(world: World) -> None:
    world.dispatch.is_away = True
    with pytest.raises(Unavailable, match="in the ledger"):
        await world.publish(await world.create())
    published = await world.ledger.rules.published(KEY)
    assert published is not None
    world.dispatch.is_away = False
    await world.dispatcher.flush()
    await world.dispatcher.flush()
    assert world.dispatch.sent == [(KEY, 1)]


async def test_older_version_is_not_published_over_a_newer_one(world: World) -> None:
    await world.create()
    await world.lifecycle.validate(KEY, 1, "ann", "")
    await world.lifecycle.approve(KEY, 1, "bob", "")
    await world.publish(await world.create(11.0, seen=1))
    with pytest.raises(Conflict, match="newer version 2"):
        await world.lifecycle.publish(KEY, 1, "ann", "")


async def test_watcher_begins_with_what_is_in_force_and_sees_changes(world: World) -> None:
    await world.publish(await world.create())
    watched = world.watch.watch("surface/")
    first = await anext(watched)
    await world.publish(await world.create(11.0, seen=1))
    await world.lifecycle.revoke(KEY, 2, "ann", "")
    seen = [first, await anext(watched), await anext(watched)]
    assert [(v.version, v.state) for v in seen] == [
        (1, RuleState.PUBLISHED),
        (2, RuleState.PUBLISHED),
        (2, RuleState.REVOKED),
    ]


async def test_tier_1_rule_in_force_is_revoked_by_two_persons_or_an_admin(world: World) -> None:
    await world.publish(await world.create(tier=1))
    for _ in range(2):
        with pytest.raises(PermissionDenied, match="your wish is recorded"):
            await world.lifecycle.revoke(KEY, 1, "ann", "incident")
    assert await world.ledger.rules.published(KEY) is not None
    assert (await world.lifecycle.revoke(KEY, 1, "bob", "yes")).state is RuleState.REVOKED
    steps = [(record.step.action, record.step.actor) for record in await world.ledger.rules.history(KEY)]
    assert steps[-3:] == [("ask-revoke", "ann"), ("ask-revoke", "ann"), ("revoke", "bob")]

    await world.publish(await world.create(tier=1, seen=1))
    assert (await world.lifecycle.revoke(KEY, 2, "root", "")).state is RuleState.REVOKED


async def test_wish_to_revoke_is_for_one_version_and_one_hour(world: World) -> None:
    await world.publish(await world.create(tier=1))
    with pytest.raises(PermissionDenied):
        await world.lifecycle.revoke(KEY, 1, "ann", "")
    world.clock.advance(3_601)
    with pytest.raises(PermissionDenied):
        await world.lifecycle.revoke(KEY, 1, "bob", "")
    await world.publish(await world.create(tier=1, seen=1))
    with pytest.raises(PermissionDenied):
        await world.lifecycle.revoke(KEY, 2, "ann", "")
