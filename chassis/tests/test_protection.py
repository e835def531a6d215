"""Budgets are never exceeded, nobody under the rate is refused, and bad rules change nothing."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chassis.errors import Invalid, Overloaded
from chassis.gcra import Gcra
from chassis.protection.protection import Protection
from chassis.protection.rule import Rule, check_rule

RESOURCE = "surface/blender/GetFeed/default"


class HandClock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.time_s = 1000.0

    def now_ms(self) -> int:
        return int(self.time_s * 1000)

    def monotonic_s(self) -> float:
        return self.time_s

    async def sleep(self, duration_s: float) -> None:
        self.time_s += duration_s


def protect(*rules: Rule, is_shadow: bool = False) -> tuple[Protection, HandClock]:
    clock = HandClock()
    protection = Protection(clock=clock, is_shadow=is_shadow)
    assert protection.set_rules(rules)
    return protection, clock


gaps = st.lists(st.floats(0, 2, allow_nan=False), min_size=1, max_size=120)
many_costs = st.lists(st.floats(0.1, 5), min_size=120, max_size=120)


@settings(max_examples=150, deadline=None)
@given(gaps=gaps, rate=st.floats(0.5, 50), burst=st.floats(0, 40), costs=many_costs)
def test_no_window_admits_more_than_rate_and_burst(
    gaps: list[float], rate: float, burst: float, costs: list[float]
) -> None:
    gcra, now_s, admitted = Gcra(rate, burst), 50.0, []
    for gap, cost in zip(gaps, costs, strict=False):
        now_s += gap
        if gcra.take(now_s, cost) == 0.0:
            admitted.append((now_s, cost))
    allowance = max(burst, 1.0, *(cost for _, cost in admitted)) + 1e-6
    for first in range(len(admitted)):
        total = 0.0
        for at_s, cost in admitted[first:]:
            total += cost
            assert total <= rate * (at_s - admitted[first][0]) + allowance


@settings(max_examples=150, deadline=None)
@given(rate=st.floats(0.1, 1e6), burst=st.floats(0, 10), slack=st.lists(st.floats(0, 1), min_size=1, max_size=100))
def test_nothing_is_refused_under_the_rate(rate: float, burst: float, slack: list[float]) -> None:
    gcra, now_s = Gcra(rate, burst), 12_345.678
    for extra in slack:
        assert gcra.take(now_s, 1.0) == 0.0
        now_s += (1.0 + extra) / rate


@settings(max_examples=100, deadline=None)
@given(rate=st.floats(0.5, 1000), burst=st.floats(0, 20), cost=st.floats(0.1, 30), num_before=st.integers(1, 60))
def test_retry_after_is_when_it_is_admitted(rate: float, burst: float, cost: float, num_before: int) -> None:
    gcra = Gcra(rate, burst)
    for _ in range(num_before):
        wait_s = gcra.take(10.0, cost)
    if wait_s > 0:
        assert gcra.take(10.0 + wait_s * 0.5, cost) > 0 or wait_s < 1e-8
        assert gcra.take(10.0 + wait_s + 1e-9, cost) == 0.0


def test_burst_is_admitted_at_once_and_then_the_steady_rate() -> None:
    gcra = Gcra(10.0, 5.0)
    assert [gcra.take(0.0, 1.0) == 0.0 for _ in range(7)] == [True] * 5 + [False] * 2
    assert gcra.take(0.1, 1.0) == 0.0
    assert gcra.take(0.1, 1.0) == pytest.approx(0.1, abs=1e-6)


def test_refusal_names_the_level_and_when_to_come_back() -> None:
    protection, clock = protect(Rule("surface", 100, burst=100), Rule(RESOURCE, 1, period_s=2))
    protection.admit(RESOURCE)
    with pytest.raises(Overloaded) as refused:
        protection.admit(RESOURCE)
    assert refused.value.field == RESOURCE
    assert refused.value.retry_after_s == pytest.approx(2.0, abs=1e-3)
    clock.time_s += 2.0
    protection.admit(RESOURCE)


def test_refused_request_is_charged_to_no_level() -> None:
    protection, _ = protect(Rule("surface", 3, burst=3), Rule(RESOURCE, 1))
    protection.admit(RESOURCE)
    for _ in range(5):
        with pytest.raises(Overloaded):
            protection.admit(RESOURCE)
    protection.admit("surface/blender/ExplainFeed/default")
    protection.admit("surface/blender/ExplainFeed/default")
    with pytest.raises(Overloaded, match="rule surface,"):
        protection.admit("surface/blender/ExplainFeed/default")


def test_wildcard_gives_every_tenant_its_own_budget() -> None:
    protection, _ = protect(Rule("surface/blender/GetFeed/*", 1))
    protection.admit("surface/blender/GetFeed/a")
    protection.admit("surface/blender/GetFeed/b")
    with pytest.raises(Overloaded):
        protection.admit("surface/blender/GetFeed/a")


def test_overlapping_wildcards_are_both_charged() -> None:
    protection, _ = protect(Rule("*/blender", 1), Rule("surface/*", 5, burst=5))
    protection.admit("surface/blender")
    with pytest.raises(Overloaded) as refused:
        protection.admit("surface/blender")
    assert refused.value.field == "*/blender"


@pytest.mark.parametrize("is_global", [True, False])
def test_shadow_counts_and_refuses_nothing(is_global: bool) -> None:
    protection, _ = protect(Rule(RESOURCE, 1, is_shadow=not is_global), is_shadow=is_global)
    for _ in range(4):
        protection.admit(RESOURCE)
    (window,) = protection.drain_usage()
    assert (window.admitted, window.refused, window.shadow_refused) == (4.0, 0.0, 3.0)


def test_usage_windows_hold_what_was_decided_since_the_last_one() -> None:
    protection, clock = protect(Rule(RESOURCE, 2, burst=2, version=7))
    for _ in range(2):
        protection.admit(RESOURCE)
    with pytest.raises(Overloaded):
        protection.admit(RESOURCE)
    clock.time_s += 10
    (window,) = protection.drain_usage()
    assert (window.key, window.admitted, window.refused, window.rule_version) == (RESOURCE, 2.0, 1.0, 7)
    assert (window.window_start_ms, window.window_ms) == (1_000_000, 10_000)
    assert protection.drain_usage() == []
    protection.admit(RESOURCE)
    assert protection.drain_usage()[0].admitted == 1.0


@pytest.mark.parametrize(
    ("field", "rule"),
    [
        ("limit", Rule("a", 0)),
        ("limit", Rule("a", -1)),
        ("limit", Rule("a", math.nan)),
        ("limit", Rule("a", math.inf)),
        ("limit", Rule("a", 2.0**63)),
        ("period_s", Rule("a", 1, period_s=0)),
        ("burst", Rule("a", 1, burst=2)),
        ("burst", Rule("a", 1, burst=math.nan)),
        ("unit", Rule("a", 1, unit="furlongs")),
        ("tier", Rule("a", 1, tier=4)),
        ("safe_share", Rule("a", 1, safe_share=1.5)),
        ("guaranteed", Rule("a", 1, guaranteed=2)),
        ("key", Rule("", 1)),
        ("key", Rule("a//b", 1)),
        ("key", Rule("a/b*", 1)),
        ("key", Rule("/".join("abcdefg"), 1)),
    ],
)
def test_bad_rule_is_refused_by_field_and_the_last_good_set_stays(field: str, rule: Rule) -> None:
    with pytest.raises(Invalid) as refused:
        check_rule(rule)
    assert refused.value.field == field
    protection, _ = protect(Rule(RESOURCE, 1))
    assert not protection.set_rules([Rule("fine", 5), rule])
    assert protection.num_bad_rule_sets == 1
    assert [kept.key for kept in protection.rules] == [RESOURCE]
    protection.admit(RESOURCE)
    with pytest.raises(Overloaded):
        protection.admit(RESOURCE)


def test_same_key_twice_is_a_bad_set() -> None:
    protection, _ = protect()
    assert not protection.set_rules([Rule("a", 1), Rule("a", 2)])


@pytest.mark.parametrize("cost", [-1.0, math.nan, math.inf, 1e18])
def test_impossible_cost_is_invalid_and_charges_nothing(cost: float) -> None:
    protection, _ = protect(Rule(RESOURCE, 10))
    with pytest.raises(Invalid) as refused:
        protection.admit(RESOURCE, cost)
    assert refused.value.field == "cost"
    protection.admit(RESOURCE)


def test_new_rules_give_nobody_a_fresh_burst() -> None:
    protection, _ = protect(Rule(RESOURCE, 5, burst=5))
    for _ in range(5):
        protection.admit(RESOURCE)
    protection.set_rules([Rule(RESOURCE, 5, burst=5, version=2), Rule("other", 1)])
    with pytest.raises(Overloaded):
        protection.admit(RESOURCE)


def test_safe_share_is_the_share_of_one_process() -> None:
    protection, _ = protect(Rule(RESOURCE, 10, burst=10, safe_share=0.2))
    protection.admit(RESOURCE)
    protection.admit(RESOURCE)
    with pytest.raises(Overloaded):
        protection.admit(RESOURCE)


def test_keys_are_bounded_and_shared_budgets_are_never_doubled() -> None:
    clock = HandClock()
    protection = Protection(clock=clock, max_keys=10)
    protection.set_rules([Rule("a/*", 3, burst=3)])
    protection.admit("a/b/first")
    for other in range(200):
        protection.admit(f"a/other{other}")
        if other % 4 == 0:
            with_first_in_use = protection._plans["a/b/first"]
    assert with_first_in_use.only is not None
    protection.admit("a/b/second")
    protection.admit("a/b/third")
    with pytest.raises(Overloaded):
        protection.admit("a/b/fourth")
    assert protection._plans.num_held <= 10
    assert len(protection._planner._budgets) <= 10
