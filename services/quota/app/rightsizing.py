"""Better limits out of recorded usage: proposed, tried on the past, and turned into drafts."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from chassis.clock import Clock
from chassis.errors import CorkboardError, Unavailable
from chassis.protection.rule import RATE, Rule
from chassis.protection.usage import UsageWindow
from services.quota.app.lifecycle import RuleLifecycle
from services.quota.app.usage import MINUTE_MS, UsageReader
from services.quota.domain.authority import Policy
from services.quota.domain.backtest import Outcome, backtest
from services.quota.domain.budget import Budget, check_budget, haircuts, paying_rules, spend
from services.quota.domain.demand import STRATEGIES, Strategy, Usage
from services.quota.domain.rightsizing import Proposal, propose, strategy_of
from services.quota.domain.rule_version import RuleVersion
from services.quota.domain.validation import Violation, parent_of
from services.quota.ports import RuleLedger

RIGHTSIZING_MS = 28 * 86_400_000


class Rightsizing:
    """Proposes and tries; it changes nothing."""

    def __init__(
        self, rules: RuleLedger, usage: UsageReader, clock: Clock, strategies: Mapping[str, Strategy] = STRATEGIES
    ) -> None:
        self._rules, self._usage, self._clock, self._strategies = rules, usage, clock, strategies

    async def propose(self, key_prefix: str, strategy: str) -> list[Proposal]:
        """One proposal per published rate rule that should change, in the order to apply them.

        Raises: Invalid for an unknown strategy, Unavailable.
        """
        demand_of = strategy_of(strategy, self._strategies)
        published = await self._published()
        # The children of a parent share what it admits; those that are not asked about keep their limit.
        with_usage = [
            (rule, await self._series(rule, is_asked=False) if rule.key.startswith(key_prefix) else np.zeros(0))
            for rule in published
        ]
        proposals = await asyncio.to_thread(propose, with_usage, demand_of, *grouped(published))
        return [proposal for proposal in proposals if proposal.current.key.startswith(key_prefix)]

    async def backtest(self, key_prefix: str, strategy: str) -> list[Outcome]:
        """What the strategy would have done to each published rate rule with two weeks of usage. Raises: Invalid."""
        demand_of = strategy_of(strategy, self._strategies)
        outcomes = []
        for rule in await self._published():
            if rule.key.startswith(key_prefix):
                outcomes.append(
                    await asyncio.to_thread(backtest, rule, await self._series(rule, is_asked=True), demand_of)
                )
        return [outcome for outcome in outcomes if outcome is not None]

    async def haircuts(self, budgets: Sequence[Budget]) -> list[Proposal]:
        """What budgets ask for now: cuts of who overspent, steps back of who no longer does.

        Raises: Invalid, Unavailable when a part of the spending cannot be read.
        """
        published = await self._rules.list_rules("", is_published_only=True)
        now_ms, found = self._clock.now_ms(), []
        for budget in budgets:
            check_budget(budget)
            spent = spend(budget, await self._units(budget, [version.rule for version in published], now_ms))
            in_force = [(version.rule, version.changed_time_ms) for version in published]
            found += haircuts(budget, in_force, spent, now_ms)
        return found

    async def _published(self) -> list[Rule]:
        found = await self._rules.list_rules("", is_published_only=True)
        return [version.rule for version in found if version.rule.kind == RATE]

    async def _units(self, budget: Budget, published: Sequence[Rule], now_ms: int) -> dict[str, float]:
        units: dict[str, float] = {}
        for rule in paying_rules(published, budget.owner):
            found = await self._usage.query(rule.key, budget.window_start_ms(now_ms), now_ms)
            if found.is_lake_away:  # what is not counted would look like thrift
                raise Unavailable(f"spending of {budget.owner!r} is not known: {found.missing}", reason="usage_missing")
            used = sum(window.admitted for window in found.windows if window.key == rule.key)
            units[rule.unit] = units.get(rule.unit, 0.0) + used
        return units

    async def _series(self, rule: Rule, *, is_asked: bool) -> Usage:
        now_ms = self._clock.now_ms()
        found = await self._usage.query(rule.key, max(0, now_ms - RIGHTSIZING_MS), now_ms)
        exact = [window for window in found.windows if window.key == rule.key]
        return await asyncio.to_thread(series, rule, exact, now_ms, is_asked=is_asked)


@dataclass(frozen=True)
class Applied:
    """What became of one proposal: how far its version came, or why there is none."""

    key: str
    version: RuleVersion | None = None
    violations: Sequence[Violation] = ()
    error: str = ""


class Drafting:
    """Brings proposals into the life of rules as anybody would: a draft, the checks, an approval."""

    def __init__(self, lifecycle: RuleLifecycle, policy: Policy) -> None:
        self._lifecycle, self._policy = lifecycle, policy

    async def apply(self, proposals: Sequence[tuple[Proposal, int]], actor: str, why: str) -> list[Applied]:
        """One after another, each (proposal, version of its current rule). One that fails stops no other."""
        return [await self._apply(proposal, version, actor, why) for proposal, version in proposals]

    async def _apply(self, proposal: Proposal, seen: int, actor: str, why: str) -> Applied:
        key, reason = proposal.current.key, (why or proposal.why)[:2_000]
        if proposal.proposed.key != key:
            return Applied(key, error=f"a proposal for {key!r} cannot change {proposal.proposed.key!r}")
        step: RuleVersion | None = None
        try:
            step = await self._lifecycle.create(proposal.proposed, seen, actor, reason)
            step, faults = await self._lifecycle.validate(key, step.version, actor, reason)
            if faults:
                return Applied(key, step, faults)
            if self._policy.approves(proposal.current, proposal.proposed):
                step = await self._lifecycle.approve(
                    key, step.version, actor, f"by policy: {self._policy}. {reason}"[:2_000]
                )
                step = await self._lifecycle.publish(key, step.version, actor, reason)
        except CorkboardError as error:
            return Applied(key, step, error=error.message)
        return Applied(key, step)


def series(rule: Rule, windows: Sequence[UsageWindow], now_ms: int, *, is_asked: bool) -> Usage:
    """Units per rule period of each whole minute from the first use on; a minute without use is 0.

    Admitted units, or with `is_asked` refused ones too. A limit that each process has for itself is compared with the
    mean process.
    """
    this_minute = now_ms // MINUTE_MS
    whole = [window for window in windows if window.window_start_ms // MINUTE_MS < this_minute]
    if not whole:
        return np.zeros(0)
    first = min(window.window_start_ms for window in whole) // MINUTE_MS
    units, instances = np.zeros(this_minute - first), np.zeros(this_minute - first)
    for window in whole:
        minute = window.window_start_ms // MINUTE_MS - first
        units[minute] += window.admitted + window.refused * is_asked
        instances[minute] += window.num_instances
    if not rule.is_global:
        units /= np.maximum(1.0, instances)
    return units * rule.period_s / 60.0


def grouped(published: Sequence[Rule]) -> tuple[Mapping[str, float], Callable[[Rule], str]]:
    """(capacity per group, group of a rule): the children of one parent share what it admits per second."""
    parents = {rule.key: parent_of(rule, published) for rule in published}
    limits = {parent.key: parent.rate_per_s for parent in parents.values() if parent is not None}
    return limits, lambda rule: parent.key if (parent := parents[rule.key]) is not None else ""
