"""What recorded usage says that a rule needs; each strategy is one opinion."""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from chassis.protection.rule import Rule

MAX_GROWTH = 0.25  # of the mean, per week
HEADROOM = {1: 0.5, 2: 0.3, 3: 0.2}  # by tier
MINUTES_PER_HOUR, MINUTES_PER_DAY, MINUTES_PER_WEEK = 60, 1_440, 10_080

Usage = NDArray[np.float64]  # units per rule period, one entry per minute, oldest first, no gaps
Strategy = Callable[[Rule, Usage], float]  # units per rule period, before headroom


def growth(usage: Usage) -> float:
    """Weekly slope over mean, in [0, MAX_GROWTH]; 0 with less than two days of usage."""
    num_days = len(usage) // MINUTES_PER_DAY
    mean = float(usage.mean()) if len(usage) else 0.0
    if num_days < 2 or mean <= 0:
        return 0.0
    days = usage[-num_days * MINUTES_PER_DAY :].reshape(num_days, -1).mean(axis=1)
    slope_per_week = float(np.polyfit(np.arange(num_days) / 7.0, days, 1)[0])
    return min(MAX_GROWTH, max(0.0, slope_per_week / mean))


def steady_demand(rule: Rule, usage: Usage) -> float:  # noqa: ARG001 - one signature for every strategy
    """The 95th percentile, grown by one week."""
    return float(np.percentile(usage, 95)) * (1.0 + growth(usage))


def burst_demand(rule: Rule, usage: Usage) -> float:
    """The 99th percentile of the hourly maxima, as far as the burst of the rule does not cover it."""
    starts = np.arange(0, len(usage), MINUTES_PER_HOUR)
    hourly_max = np.maximum.reduceat(usage, starts)
    return float(np.percentile(hourly_max, 99)) / (1.0 + rule.burst / rule.limit)


def largest_demand(rule: Rule, usage: Usage) -> float:
    """The larger of both."""
    return max(steady_demand(rule, usage), burst_demand(rule, usage))


def unused_demand(rule: Rule, usage: Usage) -> float:
    """The most that was ever used: takes away what nobody touched in the whole time, and adds nothing."""
    return min(float(usage.max()), rule.limit / (1.0 + HEADROOM[rule.tier]))


STRATEGIES: Mapping[str, Strategy] = {
    "default": largest_demand,
    "growth": steady_demand,
    "burst": burst_demand,
    "underuse": unused_demand,
}
