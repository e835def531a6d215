"""Overspending cuts limits by tier, never what is guaranteed, and they come back in equal steps."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chassis.errors import Invalid
from chassis.protection.rule import Rule, check_rule
from services.quota.domain.budget import (
    CAP,
    DAY_MS,
    NUM_RESTORE_STEPS,
    Budget,
    check_budget,
    cut,
    haircuts,
    overage,
    paying_rules,
    restored,
    spend,
)

WINDOW_MS = 28 * DAY_MS
BUDGET = Budget("feed", 1_000.0, price={"requests": 0.5})


def rule(key: str = "a", limit: float = 100.0, **fields: object) -> Rule:
    return Rule(key, limit, owner="feed", **fields)  # type: ignore[arg-type]


def test_cut_follows_the_slope_up_to_the_cap_of_the_tier() -> None:
    assert [cut(rule(tier=tier), 0.2).limit for tier in (1, 2, 3)] == pytest.approx([95.0, 90.0, 80.0])
    assert [cut(rule(tier=tier), 9.0).limit for tier in (1, 2, 3)] == pytest.approx([90.0, 75.0, 50.0])
    assert cut(rule(), 0.0) == rule()


def test_second_cut_counts_from_the_full_limit_and_does_not_add_up() -> None:
    once = cut(rule(burst=90.0), 0.2)
    assert (once.limit, once.burst, once.full_limit) == pytest.approx((80.0, 80.0, 100.0))
    assert cut(once, 0.2) == once
    assert cut(once, 0.3).limit == pytest.approx(70.0)
    assert cut(once, 0.1) == once, "a smaller overage raises nothing"


def test_cut_comes_back_in_equal_steps_and_then_is_forgotten() -> None:
    now, limits = cut(rule(), 0.5), []
    while now.full_limit:
        now = restored(now)
        limits.append(now.limit)
    assert limits == pytest.approx([62.5, 75.0, 87.5, 100.0])
    assert restored(now) == now


def test_haircut_is_proposed_while_overspent_and_restored_a_day_at_a_time_in_a_later_window() -> None:
    start_ms = 100 * WINDOW_MS
    (proposal,) = haircuts(BUDGET, [(rule(), 0)], 1_200.0, start_ms + DAY_MS)
    assert (proposal.proposed.limit, proposal.proposed.full_limit) == pytest.approx((80.0, 100.0))
    assert "20.0% over" in proposal.why
    after = proposal.proposed
    same_window, next_window = start_ms + 20 * DAY_MS, start_ms + WINDOW_MS
    assert haircuts(BUDGET, [(after, start_ms + DAY_MS)], 900.0, same_window) == []
    (step,) = haircuts(BUDGET, [(after, start_ms + DAY_MS)], 0.0, next_window)
    assert step.proposed.limit == pytest.approx(92.5)
    changed_ms = next_window
    assert haircuts(BUDGET, [(step.proposed, changed_ms - 1)], 0.0, changed_ms + DAY_MS - 2) == []


def test_others_rules_and_unpriced_units_are_left_alone() -> None:
    assert haircuts(BUDGET, [(replace(rule(), owner="ads"), 0), (rule(kind="capacity"), 0)], 9e9, WINDOW_MS) == []
    assert spend(BUDGET, {"requests": 10.0, "bytes": 1e9}) == 5.0
    assert overage(BUDGET, 999.0) == 0.0


def test_units_charged_at_two_levels_are_paid_once() -> None:
    rules = [rule("a"), rule("a/b"), rule("a/b/c", unit="bytes"), rule("x/*"), rule("x/y"), Rule("z", 1, owner="ads")]
    assert [r.key for r in paying_rules(rules, "feed")] == ["a", "a/b/c", "x/*"]


@pytest.mark.parametrize(
    ("field", "budget"),
    [
        ("owner", Budget("", 1.0)),
        ("amount", Budget("a", 0.0)),
        ("amount", Budget("a", float("nan"))),
        ("window_days", Budget("a", 1.0, 0)),
        ("price", Budget("a", 1.0, 28, {"bytes": -1.0})),
    ],
)
def test_unsound_budget_is_invalid_by_field(field: str, budget: Budget) -> None:
    with pytest.raises(Invalid) as refused:
        check_budget(budget)
    assert refused.value.field == field


some_rule = st.builds(
    lambda limit, share, tier, burst: rule(limit=limit, guaranteed=limit * share, tier=tier, burst=limit * burst),
    st.floats(1, 1e6),
    st.floats(0, 1),
    st.sampled_from([1, 2, 3]),
    st.floats(0, 1),
)


@settings(max_examples=300, deadline=None)
@given(first=some_rule, overs=st.lists(st.floats(0, 1e6), min_size=1, max_size=5))
def test_guaranteed_is_never_cut_no_limit_rises_and_every_cut_is_a_sound_rule(first: Rule, overs: list[float]) -> None:
    now = first
    for over in overs:
        after = cut(now, over)
        assert after.limit >= first.guaranteed
        assert after.limit <= now.limit
        assert after.limit >= first.limit * (1 - CAP[first.tier]) - 1e-9 * first.limit
        check_rule(after)
        now = after
    assert now.full_limit in (0.0, first.limit)


@settings(max_examples=300, deadline=None)
@given(
    limit=st.floats(1, 1e6),
    guaranteed=st.floats(0, 1),
    over=st.floats(0, 100),
    higher=st.sampled_from([1, 2]),
)
def test_tier_1_never_loses_a_larger_share_than_tier_3(
    limit: float, guaranteed: float, over: float, higher: int
) -> None:
    kept = [cut(rule(limit=limit, guaranteed=limit * guaranteed, tier=tier), over).limit for tier in (higher, 3)]
    assert kept[0] >= kept[1]


@settings(max_examples=300, deadline=None)
@given(first=some_rule, over=st.floats(0.01, 100))
def test_restoration_ends_at_the_full_limit_in_equal_steps_and_never_above(first: Rule, over: float) -> None:
    now = cut(first, over)
    steps = []
    for _ in range(NUM_RESTORE_STEPS + 1):
        after = restored(now)
        if after.limit != now.limit:
            steps.append(after.limit - now.limit)
        assert after.limit <= first.limit
        check_rule(after)
        now = after
    assert (now.limit, now.full_limit) == (first.limit, 0.0)
    assert all(step == pytest.approx(steps[0], rel=1e-6) for step in steps[:-1])
    assert all(step <= steps[0] * (1 + 1e-6) for step in steps)
