"""Proposals follow usage in steps, keep guarantees and fit the owner's capacity."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chassis.errors import Invalid
from chassis.protection.rule import Rule
from services.quota.domain import rightsizing
from services.quota.domain.demand import STRATEGIES, Usage, burst_demand, growth, largest_demand, steady_demand
from services.quota.domain.rightsizing import STEP_DOWN, STEP_UP, Proposal, strategy_of
from services.quota.domain.water_filling import WEIGHT, Want, fill

DAY = 1_440


def propose(rules: list[tuple[Rule, Usage]], capacities: dict[str, float]) -> list[Proposal]:
    return rightsizing.propose(rules, largest_demand, capacities)


def rule(key: str = "a", limit: float = 100.0, **fields: object) -> Rule:
    return Rule(key, limit, owner="ann", **fields)  # type: ignore[arg-type]


def test_limit_in_heavy_use_grows_by_at_most_a_quarter() -> None:
    (proposal,) = propose([(rule(), np.full(DAY, 100.0))], {})
    assert proposal.proposed.limit == pytest.approx(120.0)
    (proposal,) = propose([(rule(), np.full(DAY, 300.0))], {})
    assert proposal.proposed.limit == pytest.approx(125.0)
    assert "p95 300" in proposal.why


def test_unused_limit_shrinks_by_a_tenth_and_its_burst_with_it() -> None:
    (proposal,) = propose([(rule(burst=100.0), np.zeros(DAY))], {})
    assert proposal.proposed.limit == proposal.proposed.burst == pytest.approx(90.0)


def test_small_change_or_too_little_usage_proposes_nothing() -> None:
    assert propose([(rule(limit=100.0), np.full(DAY, 80.0))], {}) == []
    assert propose([(rule(), np.full(5, 500.0))], {}) == []


def test_higher_tier_has_more_headroom() -> None:
    limits = [propose([(rule(tier=tier), np.full(DAY, 75.0))], {})[0].proposed.limit for tier in (1, 3)]
    assert limits == [pytest.approx(112.5), pytest.approx(90.0)]


def test_guaranteed_is_never_cut() -> None:
    (proposal,) = propose([(rule(guaranteed=94.0), np.zeros(DAY))], {})
    assert proposal.proposed.limit == pytest.approx(94.0)


def test_growth_is_the_weekly_slope_over_the_mean_and_bounded() -> None:
    rising = np.repeat(np.arange(100.0, 128.0), DAY)
    assert growth(rising) == pytest.approx(7.0 / rising.mean())
    assert growth(np.repeat(np.arange(1.0, 29.0) ** 3, DAY)) == 0.25
    assert growth(rising[::-1].copy()) == 0.0


def test_demand_formulae() -> None:
    usage = np.zeros(DAY * 2)
    usage[::60] = 60.0  # one minute in each hour
    assert steady_demand(rule(), usage) == pytest.approx(float(np.percentile(usage, 95)))
    assert burst_demand(rule(burst=50.0), usage) == pytest.approx(60.0 / 1.5)


def test_unused_strategy_takes_what_nobody_touched_and_never_adds() -> None:
    quiet, busy = np.full(DAY, 10.0), np.full(DAY, 500.0)
    quiet[700] = 78.0  # the most that was ever used
    unused = strategy_of("underuse")
    (proposal,) = rightsizing.propose([(rule(), quiet)], unused, {})
    assert proposal.proposed.limit == pytest.approx(78.0 * 1.2)
    assert rightsizing.propose([(rule(), busy)], unused, {}) == []


def test_unknown_strategy_is_invalid_and_an_own_one_is_used() -> None:
    with pytest.raises(Invalid, match="growth"):
        strategy_of("magic")
    assert strategy_of("mine", {**STRATEGIES, "mine": lambda *_: 77.0})(rule(), np.zeros(1)) == 77.0


def test_strategy_that_gives_no_number_changes_nothing() -> None:
    for odd in (float("nan"), float("inf")):
        assert rightsizing.propose([(rule(), np.full(DAY, 50.0))], lambda *_, odd=odd: odd, {}) == []


def test_cuts_come_before_raises() -> None:
    found = propose([(rule("a"), np.full(DAY, 300.0)), (rule("b"), np.zeros(DAY))], {"ann": 200.0})
    assert [(p.current.key, p.proposed.limit > p.current.limit) for p in found] == [("b", False), ("a", True)]


def test_rule_that_was_cut_for_a_budget_is_left_alone() -> None:
    assert propose([(rule(limit=80.0, full_limit=100.0), np.full(DAY, 300.0))], {}) == []


def test_children_fit_their_parent_which_stays_as_large_as_they_need() -> None:
    busy, quiet = np.full(DAY, 300.0), np.zeros(DAY)
    rules = [
        (rule("a", 110.0), quiet),
        (rule("a/b", 50.0), busy),
        (rule("a/c", 50.0), quiet),
        (rule("a/*/x", 100.0), busy),
    ]
    found = rightsizing.propose(rules, largest_demand, {"a": 110.0}, lambda r: "a" if r.key != "a" else "everybody")
    limits = {p.current.key: p.proposed.limit for p in found}
    assert limits == pytest.approx({"a/c": 45.0, "a/b": 62.5, "a/*/x": 110.0})
    assert [p.current.key for p in found] == ["a/c", "a/b", "a/*/x"], "a is not cut: its children need 107.5"


# (limit, tier, guaranteed share of the limit, usage, period)
some_rules = st.lists(
    st.tuples(
        st.floats(1, 500),
        st.sampled_from([1, 2, 3]),
        st.integers(0, 1_000).map(lambda thousandths: thousandths / 1_000),
        st.floats(0, 900),
        st.sampled_from([1.0, 7.0, 60.0]),
        st.sampled_from([0, 5, 60]),
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=300, deadline=None)
@given(drawn=some_rules, capacity_ratio=st.floats(0.2, 1.5), strategy=st.sampled_from(sorted(STRATEGIES)))
def test_invariants_of_every_run(
    drawn: list[tuple[float, int, float, float, float, int]], capacity_ratio: float, strategy: str
) -> None:
    current = [
        rule(f"k{i}", limit, tier=tier, guaranteed=limit * share, period_s=period_s)
        for i, (limit, tier, share, _, period_s, _) in enumerate(drawn)
    ]
    usages = [np.full(num, use) for *_, use, _, num in drawn]
    capacity = sum(r.rate_per_s for r in current) * capacity_ratio
    found = rightsizing.propose(list(zip(current, usages, strict=True)), STRATEGIES[strategy], {"ann": capacity})
    proposed = {p.current.key: p.proposed for p in found}
    after = [proposed.get(r.key, r) for r in current]
    total, least = sum(r.rate_per_s for r in after), sum(r.guaranteed / r.period_s for r in current)
    assert total <= max(capacity, least) * (1 + 1e-9), "the sum fits the capacity"
    for old, new in zip(current, after, strict=True):
        assert new.limit >= old.guaranteed * (1 - 1e-9), "what is guaranteed is never cut"
        assert new.limit <= old.limit * (1 + STEP_UP) * (1 + 1e-9)
        if capacity_ratio >= 1.0:
            assert new.limit >= old.limit * (1 - STEP_DOWN) * (1 - 1e-9), "a step is a step"
        assert new.burst <= new.limit


wants = st.lists(
    st.tuples(st.floats(0, 100), st.floats(0, 100), st.sampled_from([1, 2, 3])), min_size=1, max_size=8
).map(lambda drawn: [Want(f"k{i}", min(a, b), max(a, b), tier) for i, (a, b, tier) in enumerate(drawn)])


@settings(max_examples=300, deadline=None)
@given(drawn=wants, capacity=st.floats(0, 500))
def test_water_filling_uses_all_there_is_and_respects_floors_targets_and_tiers(
    drawn: list[Want], capacity: float
) -> None:
    rates = fill(drawn, capacity)
    floors, targets = sum(w.floor for w in drawn), sum(w.target for w in drawn)
    assert sum(rates.values()) == pytest.approx(min(targets, max(floors, capacity)), rel=1e-6, abs=1e-6)
    for want in drawn:
        assert want.floor - 1e-9 <= rates[want.key] <= want.target + 1e-9
    open_ones = [w for w in drawn if w.floor == 0.0 and w.target > 1e-6]
    for one in open_ones:
        for other in open_ones:
            if WEIGHT[one.tier] > WEIGHT[other.tier]:
                met, others_met = rates[one.key] / one.target, rates[other.key] / other.target
                assert met >= others_met - 1e-6, "a higher tier never has a smaller part of its target"


def test_water_filling_equals_one_drop_at_a_time() -> None:
    drawn = [Want("a", 10, 50, 1), Want("b", 0, 20, 3), Want("c", 5, 90, 2)]
    rates = {want.key: want.floor for want in drawn}
    drop = 1e-3
    for _ in range(int((80.0 - 15.0) / drop)):
        thirsty = [want for want in drawn if rates[want.key] < want.target]
        total = sum(want.target * WEIGHT[want.tier] for want in thirsty)
        for want in thirsty:
            rates[want.key] += drop * want.target * WEIGHT[want.tier] / total
    assert fill(drawn, 80.0) == pytest.approx(rates, abs=0.05)
