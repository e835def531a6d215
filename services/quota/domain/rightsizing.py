"""Which limits recorded usage asks for."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from chassis.errors import Invalid
from chassis.protection.rule import Rule

MAX_GROWTH = 0.25  # of the mean, per week
STEP_DOWN, STEP_UP = 0.10, 0.25  # largest change of one run
IGNORED_RATIO = 0.05  # smaller changes are noise
HEADROOM = {1: 0.5, 2: 0.3, 3: 0.2}  # by tier
WEIGHT = {1: 4.0, 2: 2.0, 3: 1.0}  # by tier, when an owner's capacity is short
MINUTES_PER_HOUR, MINUTES_PER_DAY, MINUTES_PER_WEEK = 60, 1_440, 10_080
MIN_MINUTES = 10  # less says nothing about a rate

Usage = NDArray[np.float64]  # units per rule period, one entry per minute, oldest first, no gaps


@dataclass(frozen=True)
class Proposal:
    """A rule as it is and as usage says it should be."""

    current: Rule
    proposed: Rule
    why: str


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


STRATEGIES: Mapping[str, Callable[[Rule, Usage], float]] = {
    "": largest_demand,
    "default": largest_demand,
    "growth": steady_demand,
    "burst": burst_demand,
}


def propose(rules: Sequence[tuple[Rule, Usage]], capacities: Mapping[str, float], strategy: str = "") -> list[Proposal]:
    """One proposal per rule that should change; `capacities` is the units per second that an owner's rules may sum
    up to (an owner without entry is not bounded).

    Raises: Invalid for an unknown strategy.
    """
    if strategy not in STRATEGIES:
        known = ", ".join(sorted(filter(None, STRATEGIES)))
        raise Invalid(f"strategy {strategy!r} must be one of {known}", field="strategy")
    demand_of = STRATEGIES[strategy]
    targets = {rule.key: _stepped(rule, demand_of(rule, usage)) for rule, usage in rules if len(usage) >= MIN_MINUTES}
    current = {rule.key: rule for rule, _ in rules}
    wanted = [replace(rule, limit=targets.get(rule.key, rule.limit)) for rule in current.values()]
    fitted = [rule for owner in {r.owner for r in wanted} for rule in _fit(owner, wanted, capacities)]
    usage_of = {rule.key: usage for rule, usage in rules}
    proposals = [_proposal(current[rule.key], rule, usage_of[rule.key]) for rule in fitted if rule.key in targets]
    return sorted(filter(None, proposals), key=lambda proposal: proposal.current.key)


def _stepped(rule: Rule, demand: float) -> float:
    target = demand * (1.0 + HEADROOM[rule.tier])
    stepped = min(rule.limit * (1 + STEP_UP), max(rule.limit * (1 - STEP_DOWN), target))
    return max(stepped, rule.guaranteed)


def _fit(owner: str, wanted: Sequence[Rule], capacities: Mapping[str, float]) -> list[Rule]:
    """Water-filling: guaranteed first, the rest by target * weight of the tier, nobody above their target."""
    rules = [rule for rule in wanted if rule.owner == owner]
    capacity = capacities.get(owner, math.inf)
    if sum(rule.rate_per_s for rule in rules) <= capacity:
        return rules
    rates = {rule.key: rule.guaranteed / rule.period_s for rule in rules}
    left, open_rules = max(0.0, capacity - sum(rates.values())), list(rules)
    while open_rules and left > 1e-12:
        total = sum(rule.rate_per_s * WEIGHT[rule.tier] for rule in open_rules)
        shares = {rule.key: left * rule.rate_per_s * WEIGHT[rule.tier] / total for rule in open_rules}
        full = [rule for rule in open_rules if rates[rule.key] + shares[rule.key] >= rule.rate_per_s]
        for rule in full or open_rules:
            given = min(shares[rule.key], rule.rate_per_s - rates[rule.key])
            rates[rule.key] += given
            left -= given
        open_rules = [rule for rule in open_rules if rule not in full] if full else []
    return [replace(rule, limit=rates[rule.key] * rule.period_s) for rule in rules]


def _proposal(current: Rule, fitted: Rule, usage: Usage) -> Proposal | None:
    if fitted.limit <= 0 or abs(fitted.limit - current.limit) < IGNORED_RATIO * current.limit:
        return None
    proposed = replace(fitted, burst=min(current.burst, fitted.limit))
    why = (
        f"{len(usage)} minutes of usage: p95 {np.percentile(usage, 95):.4g}, max {usage.max():.4g}, growth "
        f"{growth(usage):.1%} a week, headroom {HEADROOM[current.tier]:.0%}: "
        f"limit {current.limit:.4g} -> {proposed.limit:.4g} {current.unit} per {current.period_s:g} s"
    )
    return Proposal(current, proposed, why)
