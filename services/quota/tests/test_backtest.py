"""A back-test judges each proposal by the week after it, and agrees with a replay minute by minute."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chassis.protection.rule import Rule
from services.quota.domain.backtest import Outcome, backtest, total
from services.quota.domain.demand import MINUTES_PER_WEEK, STRATEGIES, largest_demand, unused_demand

WEEK = MINUTES_PER_WEEK


def weeks(*levels: float) -> np.ndarray:
    return np.repeat(np.array(levels), WEEK)


def outcome_of(rule: Rule, asked: np.ndarray, strategy: str = "default") -> Outcome:
    found = backtest(rule, asked, STRATEGIES[strategy])
    assert found is not None
    return found


def test_less_than_two_weeks_say_nothing() -> None:
    assert backtest(Rule("a", 10.0), weeks(5.0)[:-1], largest_demand) is None
    assert backtest(Rule("a", 10.0), np.zeros(0), largest_demand) is None


def test_idle_limit_is_wasted_and_a_part_of_it_saved() -> None:
    found = outcome_of(Rule("a", 100.0), weeks(10.0, 10.0, 10.0))
    per_week = WEEK * 60.0
    assert found.num_runs == 2
    assert found.allowed_before == pytest.approx(2 * 100.0 * per_week)
    assert found.allowed_after == pytest.approx((90.0 + 81.0) * per_week)
    assert found.saved == pytest.approx((10.0 + 19.0) * per_week)
    assert (found.refused_before, found.refused_after) == (0.0, 0.0)


def test_limit_that_is_too_small_refuses_less_when_it_follows_demand() -> None:
    found = outcome_of(Rule("a", 100.0), weeks(150.0, 150.0, 150.0))
    per_week = WEEK * 60.0
    assert found.refused_before == pytest.approx(2 * 50.0 * per_week)
    assert found.refused_after == pytest.approx(25.0 * per_week)  # 125, then 156
    assert found.saved < 0


def test_strategy_is_judged_by_weeks_that_it_did_not_see() -> None:
    found = outcome_of(Rule("a", 100.0), weeks(10.0, 120.0), "underuse")
    assert found.refused_after > found.refused_before == pytest.approx(20.0 * WEEK * 60.0)


def test_burst_carries_a_minute_after_a_quiet_one() -> None:
    asked = weeks(5.0, 5.0)
    asked[-10] = 20.0
    sharp = outcome_of(Rule("a", 10.0), asked, "underuse")
    soft = outcome_of(Rule("a", 10.0, burst=10.0, period_s=60.0), asked, "underuse")
    assert sharp.refused_before == pytest.approx(10.0 * 60)
    assert soft.refused_before == pytest.approx(5.0), "5 are saved from the minute before"


def test_total_is_the_sum() -> None:
    one, two = outcome_of(Rule("a", 100.0), weeks(10.0, 10.0)), outcome_of(Rule("b", 100.0), weeks(150.0, 150.0))
    both = total([one, two])
    assert both.asked == one.asked + two.asked
    assert both.saved == pytest.approx(one.saved + two.saved)


@settings(max_examples=30, deadline=None)
@given(level=st.floats(0, 300), spread=st.floats(0, 100), limit=st.floats(1, 200), seed=st.integers(0, 2**16))
def test_nothing_is_made_or_lost(level: float, spread: float, limit: float, seed: int) -> None:
    asked = np.abs(np.random.default_rng(seed).normal(level, spread, 2 * WEEK))
    found = backtest(Rule("a", limit, burst=limit / 2), asked, unused_demand)
    assert found is not None
    for allowed, refused in (
        (found.allowed_before, found.refused_before),
        (found.allowed_after, found.refused_after),
    ):
        assert 0 <= refused <= found.asked + 1e-6
        assert allowed > 0
    assert found.allowed_after <= found.allowed_before + 1e-6
    assert found.refused_after >= found.refused_before - 1e-6
