"""Proposals go through the life of rules: drafts, checks, and an approval by a person or, for small ones, a policy."""

import asyncio
import json
import time
from pathlib import Path

import pytest
from grpc import aio

from chassis.deadline import Deadline
from chassis.errors import Invalid
from chassis.protection import UsageWindow
from chassis.protection.rule import Rule
from chassis.testing import FakeClock, InMemoryBus, eventually
from protos.quota.v1 import quota_pb2 as pb
from protos.rules import encode_usage
from protos.topics import QUOTA_USAGE
from services.quota.domain.authority import Policy, parse_tiers
from services.quota.domain.rule_version import AuditRecord, RuleState, RuleVersion, Step
from services.quota.offline import rightsize
from services.quota.tests.test_service import KEY, Running, config, door_of, serving
from services.quota.wiring import build, open_ledger

DAY_MS = 86_400_000


async def use(running: Running, admitted_per_s: float, minutes: int = 30, key: str = KEY) -> None:
    """Record usage of the last minutes, and wait until it is there."""
    minute_ms = running.clock.now_ms() // 60_000 * 60_000
    for number in range(minutes, 0, -1):
        window = UsageWindow(
            key, minute_ms - number * 60_000, 60_000, admitted_per_s * 60, 0.0, 0.0, 1, "blender", "one", "local"
        )
        await running.bus.producer().send(QUOTA_USAGE, encode_usage(window), key=key.encode())

    async def is_there() -> bool:
        answer = await running.usage.QueryUsage(pb.QueryUsageRequest(key_prefix=key, from_time_ms=minute_ms - DAY_MS))
        return len(answer.windows) == minutes

    await eventually(is_there, within_s=5)


async def proposals(running: Running, strategy: str = "") -> list[pb.RightsizingProposal]:
    answer = await running.usage.ProposeRightsizing(pb.ProposeRightsizingRequest(strategy=strategy))
    return list(answer.proposals)


async def test_proposal_becomes_a_draft_that_waits_for_a_person(tmp_path: Path) -> None:
    async with serving(tmp_path, InMemoryBus(), FakeClock()) as running:
        await running.publish(100.0)
        await use(running, 100.0)
        found = await proposals(running)
        assert found[0].current_version == 1
        assert found[0].proposed.limit == pytest.approx(120.0)
        request = pb.ApplyProposalsRequest(proposals=found, actor="ann")
        (applied,) = (await running.usage.ApplyProposals(request)).applied
        assert (applied.error, applied.rule_version.version) == ("", 2)
        assert applied.rule_version.state == pb.RULE_STATE_VALIDATED
        assert "p95 100" in applied.rule_version.why
        (again,) = (await running.usage.ApplyProposals(request)).applied
        assert "you saw 1" in again.error
        denied = pb.ApplyProposalsRequest(proposals=found, actor="eve")
        assert "neither" in (await running.usage.ApplyProposals(denied)).applied[0].error


async def test_small_change_is_published_by_policy_and_says_so(tmp_path: Path) -> None:
    bus, clock = InMemoryBus(), FakeClock()
    service = build(config(tmp_path).model_copy(update={"policy_change_ratio": 0.2}), bus=bus, clock=clock)
    async with service, aio.insecure_channel(door_of(service).address) as channel:
        running = Running(channel, bus, clock)
        await running.publish(100.0)
        await use(running, 95.0)
        (applied,) = (
            await running.usage.ApplyProposals(
                pb.ApplyProposalsRequest(proposals=await proposals(running), actor="ann", why="quarterly")
            )
        ).applied
        assert applied.rule_version.state == pb.RULE_STATE_PUBLISHED
        history = (await running.quota.History(pb.RuleRef(key=KEY))).records
        approvals = [record.why for record in history if record.action == "approve"]
        assert approvals[-1] == "by policy: changes up to 20% of tier 3. quarterly"


async def test_proposal_for_one_rule_cannot_change_another(tmp_path: Path) -> None:
    async with serving(tmp_path, InMemoryBus(), FakeClock()) as running:
        await running.publish(100.0)
        await use(running, 100.0)
        (found,) = await proposals(running)
        found.proposed.key = "another"
        (applied,) = (
            await running.usage.ApplyProposals(pb.ApplyProposalsRequest(proposals=[found], actor="ann"))
        ).applied
        assert "cannot change" in applied.error


async def test_back_test_is_answered_by_rule_and_in_total(tmp_path: Path) -> None:
    clock = FakeClock()
    async with serving(tmp_path, InMemoryBus(), clock) as running:
        await running.publish(100.0)
        minute_ms = clock.now_ms() // 60_000 * 60_000
        for hour in range(14 * 24 + 1):
            window = UsageWindow(KEY, minute_ms - hour * 3_600_000 - 60_000, 60_000, 60.0, 0, 0, 1, "b", "i", "z")
            await running.bus.producer().send(QUOTA_USAGE, encode_usage(window), key=KEY.encode())

        async def is_tested() -> bool:
            answer = await running.usage.BacktestRightsizing(pb.ProposeRightsizingRequest(strategy="underuse"))
            return [row.num_runs for row in answer.rows] == [1]

        await eventually(is_tested, within_s=20)
        answer = await running.usage.BacktestRightsizing(pb.ProposeRightsizingRequest(strategy="underuse"))
        (row,) = answer.rows
        assert (row.key, row.unit, row.refused_ratio_after) == (KEY, "requests", 0.0)
        assert row.unused_ratio_after < row.unused_ratio_before
        assert answer.total.saved == pytest.approx(row.saved)
        with pytest.raises(aio.AioRpcError, match="must be one of"):
            await running.usage.BacktestRightsizing(pb.ProposeRightsizingRequest(strategy="magic"))


async def test_overspent_budget_cuts_once_and_comes_back_after_its_window(tmp_path: Path) -> None:
    clock = FakeClock()
    async with serving(tmp_path, InMemoryBus(), clock) as running:
        await running.publish(100.0)
        await use(running, 50.0, minutes=10)
        spent = 50.0 * 60 * 10
        budget = pb.Budget(owner="team", amount=spent / 1.1, price={"requests": 1.0})

        async def cuts(*budgets: pb.Budget) -> list[pb.RightsizingProposal]:
            answer = await running.usage.ProposeHaircuts(pb.ProposeHaircutsRequest(budgets=budgets))
            return list(answer.proposals)

        found = await cuts(budget)
        assert [(each.proposed.limit, each.proposed.full_limit) for each in found] == [pytest.approx((90.0, 100.0))]
        (applied,) = (
            await running.usage.ApplyProposals(pb.ApplyProposalsRequest(proposals=found, actor="ann"))
        ).applied
        assert applied.rule_version.state == pb.RULE_STATE_VALIDATED
        ref = pb.RuleRef(key=KEY, version=2, actor="bob")
        await running.quota.ApproveRule(pb.ApproveRuleRequest(ref=ref))
        await running.quota.PublishRule(ref)
        assert await cuts(budget) == [], "the same overage cuts once"
        clock.advance(29 * 86_400)
        (back,) = await cuts(budget)
        assert (back.proposed.limit, back.proposed.full_limit) == (100.0, 0.0)
        with pytest.raises(aio.AioRpcError, match="amount"):
            await cuts(pb.Budget(owner="team", amount=-1.0))


def test_policy_never_approves_what_needs_two_persons() -> None:
    policy = Policy(0.2, frozenset({2, 3}))
    now = Rule("a", 100.0, owner="ann")
    assert policy.approves(now, Rule("a", 120.0, owner="ann"))
    for proposed in (
        Rule("a", 121.0, owner="ann"),
        Rule("a", 101.0, owner="eve"),
        Rule("a", 101.0, owner="ann", tier=1),
        Rule("a", 101.0, owner="ann", is_shadow=True),
    ):
        assert not policy.approves(now, proposed)
    assert not Policy().approves(now, Rule("a", 101.0, owner="ann"))
    with pytest.raises(Invalid):
        parse_tiers("1,2")


def test_offline_job_proposes_from_the_ledger_and_names_a_strategy_that_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("QUOTA_LEDGER_PATH", str(tmp_path / "quota.sqlite"))
    now_ms = time.time_ns() // 60_000_000_000 * 60_000

    async def fill() -> None:
        ledger = open_ledger(str(tmp_path / "quota.sqlite"))
        await ledger.database.open()
        rule = Rule("a/b", 100.0, owner="ann", version=1)
        published = RuleVersion(rule, RuleState.PUBLISHED, 1, "ann", "", "ann")
        await ledger.rules.write([AuditRecord(Step("publish", "ann", "", 1), None, published)])
        minutes = [
            UsageWindow("a/b", now_ms - n * 60_000, 60_000, 6_000.0, 0, 0, 1, "b", "i", "z") for n in range(1, 30)
        ]
        await ledger.usage.add_usage(minutes)
        await ledger.database.stop(Deadline.after(1.0))

    asyncio.run(fill())
    assert rightsize.main([]) == 0
    row = json.loads(capsys.readouterr().out)
    assert (row["key"], row["version"], row["proposed"]) == ("a/b", 1, pytest.approx(120.0))
    assert rightsize.main(["--backtest"]) == 0
    assert capsys.readouterr().out == ""
    assert rightsize.main(["--strategy", "magic"]) == 1
