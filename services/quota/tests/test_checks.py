"""Checks are plug-ins: built in, of an operator's own, or served by another process; none can delay or break a step."""

import asyncio
import time
from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from grpc import aio

from chassis.errors import Invalid, Unavailable
from chassis.grpc.client import ChannelPool
from chassis.metrics import Metrics
from chassis.protection.rule import Rule
from protos.quota.v1 import quota_pb2 as pb
from protos.quota.v1 import quota_pb2_grpc as rpc
from services.quota.app.checks import Checks, FunctionCheck, chosen_checks
from services.quota.app.plugins import load_plugins
from services.quota.domain.validation import Violation
from services.quota.outbound.grpc_rule_check import GrpcRuleCheck, parse_remote_checks
from services.quota.ports import RuleCheck

RULE = Rule("surface/blender", 10.0, owner="ann")
LIMIT_S = 0.3


def round_numbers_only(rule: Rule, published: Sequence[Rule]) -> Iterable[Violation]:
    """A plug-in, as an operator would write it."""
    if rule.limit % 10:
        yield Violation("limit", f"{rule.limit:g} is no round number; {len(published)} rules are in force")


def broken(rule: Rule, published: Sequence[Rule]) -> Iterable[Violation]:
    raise ZeroDivisionError("planted")


def sleepy(rule: Rule, published: Sequence[Rule]) -> Iterable[Violation]:
    time.sleep(LIMIT_S * 3)
    return []


def checks(*given: RuleCheck) -> Checks:
    return Checks(given, LIMIT_S, Metrics("test"))


class Judge(rpc.RuleCheckServiceServicer):
    """Somebody else's service, such as one that knows what machines are ordered."""

    def __init__(self) -> None:
        self.delay_s = 0.0
        self.asked: list[pb.CheckRuleRequest] = []

    async def CheckRule(self, request: pb.CheckRuleRequest, _context: Any) -> pb.CheckRuleResponse:
        self.asked.append(request)
        await asyncio.sleep(self.delay_s)
        too_much = request.rule.limit > 50
        return pb.CheckRuleResponse(violations=[pb.Violation(field="limit", message="50 are built")] * too_much)


async def test_plugin_of_an_operator_is_asked_with_the_other_rules() -> None:
    found = await checks(FunctionCheck("round", round_numbers_only)).violations(
        Rule("a", 11.0, owner="ann"), [Rule("a", 3.0), Rule("b", 3.0)]
    )
    assert found == [Violation("limit", "11 is no round number; 1 rules are in force")]


async def test_unsound_numbers_reach_no_check() -> None:
    found = await checks(FunctionCheck("broken", broken)).violations(Rule("a", float("nan"), owner="ann"), [])
    assert [each.field for each in found] == ["limit"]


async def test_check_that_breaks_or_sleeps_is_no_consent_and_is_named() -> None:
    with pytest.raises(Unavailable, match=r"'broken' failed.*ZeroDivisionError: planted"):
        await checks(FunctionCheck("broken", broken)).violations(RULE, [])
    begun_s = time.monotonic()
    with pytest.raises(Unavailable, match=r"'sleepy'.*within 0.3 s") as refused:
        await checks(FunctionCheck("sleepy", sleepy)).violations(RULE, [])
    assert (refused.value.reason, time.monotonic() - begun_s < 2 * LIMIT_S) == ("check_unavailable", True)


async def test_check_of_another_process_agrees_refuses_is_slow_and_is_away() -> None:
    judge, server = Judge(), aio.server()
    rpc.add_RuleCheckServiceServicer_to_server(judge, server)
    target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    remote = checks(GrpcRuleCheck("judge", ChannelPool(target), LIMIT_S))
    assert await remote.violations(RULE, [RULE, Rule("other", 3.0)]) == []
    assert [each.key for each in judge.asked[0].published] == ["other"]
    assert await remote.violations(Rule("a", 51.0, owner="ann"), []) == [Violation("limit", "50 are built")]
    judge.delay_s = 5.0
    with pytest.raises(Unavailable, match="judge"):
        await remote.violations(RULE, [])
    await server.stop(0)
    with pytest.raises(Unavailable, match="judge"):
        await remote.violations(RULE, [])


def test_checks_and_plugins_are_chosen_by_name_and_misspelt_ones_refused() -> None:
    assert [check.name for check in chosen_checks("owner, shadowed")] == ["owner", "shadowed"]
    assert parse_remote_checks("a=h:1;b=h:2@az-a,h:3") == {"a": "h:1", "b": "h:2@az-a,h:3"}
    plugins = load_plugins(f"round={__name__}:round_numbers_only", "check_plugins")
    assert plugins["round"].__name__ == "round_numbers_only"
    for make, field in (
        (lambda: chosen_checks("wishes"), "checks"),
        (lambda: parse_remote_checks("just-a-name"), "remote_checks"),
        (lambda: load_plugins("round", "check_plugins"), "check_plugins"),
        (lambda: load_plugins("round=no.such:thing", "check_plugins"), "check_plugins"),
        (lambda: load_plugins(f"round={__name__}:LIMIT_S", "check_plugins"), "check_plugins"),
    ):
        with pytest.raises(Invalid) as refused:
            make()
        assert refused.value.field == field
