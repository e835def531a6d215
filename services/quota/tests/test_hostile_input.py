"""What callers should not send, over real gRPC: a clear error that names the field, and the next call works."""

import math
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from grpc import aio

from chassis.grpc.status import DETAILS_KEY
from chassis.protection import Protection, Rule
from chassis.testing import FakeClock
from protos.quota.v1 import quota_pb2 as pb
from services.quota.tests.test_service import KEY, Running, running  # noqa: F401 - a fixture

INVALID = grpc.StatusCode.INVALID_ARGUMENT


def rule(key: str = KEY, **fields: Any) -> pb.Rule:
    sound: dict[str, Any] = {
        "limit": 10.0,
        "period_s": 1.0,
        "burst": 5.0,
        "unit": "requests",
        "owner": "team",
        "tier": 3,
    }
    return pb.Rule(key=key, **(sound | fields))


async def refused(call: Any) -> tuple[grpc.StatusCode, str]:
    """(status, field at fault) of a call that must fail."""
    with pytest.raises(aio.AioRpcError) as caught:
        await call
    details = status_pb2.Status.FromString(dict(caught.value.trailing_metadata() or ())[DETAILS_KEY]).details
    bad, info = error_details_pb2.BadRequest(), error_details_pb2.ErrorInfo()
    field = ""
    for detail in details:
        if detail.Unpack(bad):
            field = bad.field_violations[0].field
        elif detail.Unpack(info):
            field = field or info.metadata.get("field", "")
    return caught.value.code(), field


@pytest.mark.parametrize(
    ("fields", "at_fault"),
    [
        ({"limit": 0.0}, "limit"),
        ({"limit": -1.0}, "limit"),
        ({"limit": math.nan}, "limit"),
        ({"limit": math.inf}, "limit"),
        ({"limit": 2.0**63}, "limit"),
        ({"limit": 1e-320}, "limit"),
        ({"period_s": 0.0}, "period_s"),
        ({"period_s": -math.inf}, "period_s"),
        ({"burst": 11.0}, "burst"),
        ({"burst": math.nan}, "burst"),
        ({"unit": "furlongs"}, "unit"),
        ({"unit": ""}, "unit"),
        ({"unit": "cores"}, "unit"),
        ({"kind": "magic"}, "kind"),
        ({"tier": -5}, "tier"),
        ({"tier": 2**31 - 1}, "tier"),
        ({"safe_share": 1.5}, "safe_share"),
        ({"safe_share": math.nan}, "safe_share"),
        ({"guaranteed": 11.0}, "guaranteed"),
        ({"full_limit": 5.0}, "full_limit"),
        ({"key": "a//b"}, "key"),
        ({"key": "a/b*"}, "key"),
        ({"key": "a/b c"}, "key"),
        ({"key": "/".join("abcdefg")}, "key"),
    ],
    ids=str,
)
async def test_unsound_rule_stays_a_draft_and_the_violation_names_the_field(
    running: Running,  # noqa: F811
    fields: dict[str, Any],
    at_fault: str,
) -> None:
    asked = rule(**fields)
    await running.quota.CreateRule(pb.CreateRuleRequest(rule=asked, actor="ann"))
    answer = await running.quota.ValidateRule(pb.RuleRef(key=asked.key, actor="ann"))
    assert at_fault in {violation.field for violation in answer.violations}
    assert answer.rule_version.state == pb.RULE_STATE_DRAFT
    for step in ("ApproveRule", "PublishRule"):
        ref = pb.RuleRef(key=asked.key, actor="bob")
        request = pb.ApproveRuleRequest(ref=ref) if step == "ApproveRule" else ref
        assert (await refused(getattr(running.quota, step)(request)))[0] is INVALID
    assert (await running.quota.ListRules(pb.ListRulesRequest(is_published_only=True))).rule_versions == []


@pytest.mark.parametrize(
    ("asked", "actor", "why", "at_fault"),
    [
        (rule(""), "ann", "", "rule.key"),
        (rule("a\x00b"), "ann", "", "rule.key"),
        (rule("a" * 257), "ann", "", "rule.key"),
        (rule(owner="team\x1b[2J"), "ann", "", "rule.owner"),
        (rule(unit="x" * 300), "ann", "", "rule.unit"),
        (rule(), "", "", "actor"),
        (rule(), "ann\x00", "", "actor"),
        (rule(), "ann", "because\x07", "why"),
        (rule(), "ann", "x" * 2_001, "why"),
    ],
    ids=range(9),
)
async def test_text_that_cannot_be_kept_is_refused(
    running: Running,  # noqa: F811
    asked: pb.Rule,
    actor: str,
    why: str,
    at_fault: str,
) -> None:
    call = running.quota.CreateRule(pb.CreateRuleRequest(rule=asked, actor=actor, why=why))
    assert await refused(call) == (INVALID, at_fault)
    await running.publish()


async def test_overlapping_globs_are_both_enforced_and_one_that_does_nothing_is_refused(
    running: Running,  # noqa: F811
) -> None:
    await running.publish(10.0, key="surface/*/GetFeed")
    await running.publish(20.0, key="*/blender/GetFeed")
    idle = rule("surface/blender/GetFeed", limit=50.0, burst=50.0)
    await running.quota.CreateRule(pb.CreateRuleRequest(rule=idle, actor="ann"))
    answer = await running.quota.ValidateRule(pb.RuleRef(key=idle.key, actor="ann"))
    assert ["has no effect" in violation.message for violation in answer.violations] == [True, True]


async def test_rename_with_live_leases_ends_them_and_begins_new_ones(running: Running) -> None:  # noqa: F811
    await running.publish(100.0, safe_share=0.5)
    old = await running.lease.Acquire(pb.AcquireRequest(key=KEY, client_id="one", demand=80))
    renamed = KEY.replace("default", "main")
    await running.publish(100.0, key=renamed, safe_share=0.5)
    await running.quota.RevokeRule(pb.RuleRef(key=KEY, actor="ann"))
    call = running.lease.Renew(pb.RenewRequest(lease_id=old.lease_id, client_id="one", demand=80, held_rate=50))
    assert (await refused(call))[0] is grpc.StatusCode.NOT_FOUND
    assert not (await running.lease.Release(pb.ReleaseRequest(lease_id=old.lease_id, client_id="one"))).is_released
    new = await running.lease.Acquire(pb.AcquireRequest(key=renamed, client_id="one", demand=80))
    assert new.rate == pytest.approx(50.0)


def test_enforcer_of_a_renamed_rule_gives_nobody_a_second_burst_and_drops_the_old_budget() -> None:
    protection = Protection(clock=FakeClock())
    before = Rule("a/b", 10.0, burst=10.0, safe_share=0.5, is_global=True)
    protection.set_rules([before])
    assert [leased.key for leased in protection.leased_budgets()] == ["a/b"]
    protection.set_rules([Rule("a/c", 10.0, burst=10.0, safe_share=0.5, is_global=True)])
    assert [leased.key for leased in protection.leased_budgets()] == ["a/c"]
    protection.admit("a/b")  # no rule any more


@pytest.mark.parametrize("demand", [math.nan, math.inf, -1.0])
async def test_impossible_demand_is_invalid(running: Running, demand: float) -> None:  # noqa: F811
    await running.publish(100.0, safe_share=0.5)
    call = running.lease.Acquire(pb.AcquireRequest(key=KEY, client_id="one", demand=demand))
    assert await refused(call) == (INVALID, "demand")


async def test_client_that_asks_for_everything_gets_its_share(running: Running) -> None:  # noqa: F811
    await running.publish(100.0, safe_share=0.25)
    greedy = await running.lease.Acquire(pb.AcquireRequest(key=KEY, client_id="greedy", demand=1e18))
    others = [await running.lease.Acquire(pb.AcquireRequest(key=KEY, client_id=f"c{n}", demand=1e18)) for n in range(3)]
    assert greedy.rate + sum(other.rate for other in others) <= 100.0 + 1e-6
    assert all(other.rate >= 25.0 - 1e-6 for other in others), "nobody has less than the safe share"
    for fields in ({"weight": 1e18}, {"weight": -1.0}, {"client_id": ""}, {"budget": "another/rule"}):
        request: dict[str, Any] = {"key": KEY, "client_id": "one", "demand": 1.0} | fields
        (name,) = fields
        assert await refused(running.lease.Acquire(pb.AcquireRequest(**request))) == (INVALID, name)


async def test_client_cannot_give_back_or_keep_more_than_it_holds(running: Running) -> None:  # noqa: F811
    await running.publish(100.0, safe_share=0.5)
    lease = await running.lease.Acquire(pb.AcquireRequest(key=KEY, client_id="one", demand=10))
    renewed = await running.lease.Renew(
        pb.RenewRequest(lease_id=lease.lease_id, client_id="one", demand=10, held_rate=1e18)
    )
    assert renewed.rate <= 50.0
    bad = pb.RenewRequest(lease_id=lease.lease_id, client_id="one", demand=10, held_rate=math.nan)
    assert await refused(running.lease.Renew(bad)) == (INVALID, "held_rate")
    release = pb.ReleaseRequest(lease_id=lease.lease_id, client_id="one")
    assert [(await running.lease.Release(release)).is_released for _ in range(3)] == [True, False, False]
    again = await running.lease.Acquire(pb.AcquireRequest(key=KEY, client_id="one", demand=1e18))
    assert again.rate <= 100.0, "giving back three times frees one share"


async def test_lease_of_another_client_is_denied_and_an_unknown_one_not_found(running: Running) -> None:  # noqa: F811
    await running.publish(100.0, safe_share=0.5)
    lease = await running.lease.Acquire(pb.AcquireRequest(key=KEY, client_id="one", demand=10))
    for call in (
        running.lease.Renew(pb.RenewRequest(lease_id=lease.lease_id, client_id="thief", demand=1e6)),
        running.lease.Release(pb.ReleaseRequest(lease_id=lease.lease_id, client_id="thief")),
    ):
        assert (await refused(call))[0] is grpc.StatusCode.PERMISSION_DENIED
    unknown = running.lease.Renew(pb.RenewRequest(lease_id="\x00" * 5_000, client_id="one", demand=1))
    assert (await refused(unknown))[0] is grpc.StatusCode.NOT_FOUND
    assert (await running.lease.Renew(pb.RenewRequest(lease_id=lease.lease_id, client_id="one", demand=10))).rate > 0


@pytest.mark.parametrize(("begin_ms", "end_ms"), [(-1, 0), (10, 5), (2**62, 1)])
async def test_range_of_time_that_is_none_is_invalid(running: Running, begin_ms: int, end_ms: int) -> None:  # noqa: F811
    request = pb.QueryUsageRequest(from_time_ms=begin_ms, to_time_ms=end_ms)
    assert await refused(running.usage.QueryUsage(request)) == (INVALID, "from_time_ms")


async def test_keys_of_no_rule_are_not_found_whatever_they_hold(running: Running) -> None:  # noqa: F811
    for key in ("nothing", "a" * 10_000, "%_*'\";--"):
        assert (await refused(running.quota.GetRule(pb.RuleRef(key=key))))[0] is grpc.StatusCode.NOT_FOUND
        assert (await running.quota.ListRules(pb.ListRulesRequest(key_prefix=key))).rule_versions == []
