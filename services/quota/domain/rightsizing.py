"""Which limits recorded usage asks for."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter

import numpy as np

from chassis.errors import Invalid
from chassis.protection.rule import Rule
from services.quota.domain.demand import HEADROOM, STRATEGIES, Strategy, Usage, growth
from services.quota.domain.water_filling import Want, fill

STEP_DOWN, STEP_UP = 0.10, 0.25  # largest change of one run
IGNORED_RATIO = 0.05  # smaller changes are noise
MIN_MINUTES = 10  # less says nothing about a rate


@dataclass(frozen=True)
class Proposal:
    """A rule as it is and as it should be."""

    current: Rule
    proposed: Rule
    why: str


def strategy_of(name: str, known: Mapping[str, Strategy] = STRATEGIES) -> Strategy:
    """The strategy of that name; "" = default. Raises: Invalid for an unknown one."""
    if (found := known.get(name or "default")) is None:
        raise Invalid(f"strategy {name!r} must be one of {', '.join(sorted(known))}", field="strategy")
    return found


def propose(
    rules: Sequence[tuple[Rule, Usage]],
    demand_of: Strategy,
    capacities: Mapping[str, float],
    group_of: Callable[[Rule], str] = attrgetter("owner"),
) -> list[Proposal]:
    """One proposal per rule that should change, in an order in which each can be published.

    `capacities` is the units per second that the rules of a group, all of them in `rules`, may sum up to; a group
    without entry is not bounded. A group named like a rule holds its children: that rule stays as large as they need.
    Rules with less than `MIN_MINUTES` of usage, and those cut for a budget, keep their limit unless it must be cut.
    """
    usages = {rule.key: usage for rule, usage in rules}
    limits: dict[str, float] = {}
    needed: dict[str, float] = {}  # rate that the children of a rule have
    groups: dict[str, list[Rule]] = {}
    for rule, _ in sorted(rules, key=lambda each: -len(each[0].levels)):
        groups.setdefault(group_of(rule), []).append(rule)
    for name, members in groups.items():  # children before their parents
        wishes = [
            _Wish(
                rule,
                max(_target(rule, usages[rule.key], demand_of), needed.get(rule.key, 0.0) * rule.period_s),
                needed.get(rule.key, 0.0) * rule.period_s,
            )
            for rule in members
        ]
        fitted = _fitted(wishes, capacities.get(name, math.inf))
        limits |= fitted
        needed[name] = _sum_of(members, fitted)
    changed = [(rule, limits[rule.key]) for rule, _ in rules if limits[rule.key] != rule.limit]
    return [_proposal(rule, limit, usages[rule.key]) for rule, limit in sorted(changed, key=_publishing_order)]


def _publishing_order(change: tuple[Rule, float]) -> tuple[bool, int, str]:
    """Cuts first, of children before their parents; then raises, of parents before their children."""
    rule, limit = change
    is_raise = limit > rule.limit
    return is_raise, len(rule.levels) if is_raise else -len(rule.levels), rule.key


def _target(rule: Rule, usage: Usage, demand_of: Strategy) -> float:
    """Units per period, one step from the limit at most; the limit itself when there is nothing to change."""
    if len(usage) < MIN_MINUTES or rule.full_limit > 0:
        return rule.limit
    wanted = demand_of(rule, usage) * (1.0 + HEADROOM[rule.tier])
    if not math.isfinite(wanted):
        return rule.limit
    stepped = min(rule.limit * (1 + STEP_UP), max(_floor(rule), wanted))
    return rule.limit if abs(stepped - rule.limit) < IGNORED_RATIO * rule.limit else stepped


def _floor(rule: Rule) -> float:
    return max(rule.guaranteed, rule.limit * (1 - STEP_DOWN))


@dataclass(frozen=True)
class _Wish:
    rule: Rule
    target: float  # units per period, as is `least`: what its children have
    least: float

    def as_want(self, *, is_by_step: bool) -> Want:
        floor = _floor(self.rule) if is_by_step else self.rule.guaranteed
        period_s = self.rule.period_s
        target = self.target / period_s
        return Want(self.rule.key, min(target, max(floor, self.least) / period_s), target, self.rule.tier)


def _fitted(wishes: Sequence[_Wish], capacity: float) -> dict[str, float]:
    """Limits by key. A cut that the capacity needs is made however small; it keeps to the step while that is possible.

    How many names a wildcard stands for is not known: each such rule must fit alone.
    """
    named = [wish for wish in wishes if "*" not in wish.rule.levels]
    wants = [wish.as_want(is_by_step=True) for wish in named]
    if sum(want.floor for want in wants) > capacity:
        wants = [wish.as_want(is_by_step=False) for wish in named]
    rates = fill(wants, capacity)
    met = {want.key for want in wants if rates[want.key] >= want.target}  # compared as rates: no rounding between
    limits = {w.rule.key: w.target if w.rule.key in met else rates[w.rule.key] * w.rule.period_s for w in named}
    for wish in wishes:
        if wish.rule.key not in limits:
            limits[wish.rule.key] = min(wish.target, max(capacity * wish.rule.period_s, wish.rule.guaranteed))
    return limits


def _sum_of(rules: Sequence[Rule], limits: Mapping[str, float]) -> float:
    rates = [("*" in rule.levels, limits[rule.key] / rule.period_s) for rule in rules]
    return max(
        sum(rate for is_any, rate in rates if not is_any), max((rate for is_any, rate in rates if is_any), default=0.0)
    )


def _proposal(rule: Rule, limit: float, usage: Usage) -> Proposal:
    proposed = replace(rule, limit=limit, burst=min(rule.burst, limit))
    figures = f"{len(usage)} minutes of usage"
    if len(usage):
        figures += f": p95 {np.percentile(usage, 95):.4g}, max {usage.max():.4g}, growth {growth(usage):.1%} a week"
    why = (
        f"{figures}, headroom {HEADROOM[rule.tier]:.0%}: limit {rule.limit:.4g} -> {limit:.4g} {rule.unit} "
        f"per {rule.period_s:g} s"
    )
    return Proposal(rule, proposed, why)
