"""What was used: taken in, asked for, forgotten in time, and turned into better limits."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from chassis.clock import Clock
from chassis.deadline import Deadline
from chassis.errors import Invalid, Unavailable
from chassis.logs import get_logger
from chassis.protection.rule import Rule
from chassis.protection.usage import UsageWindow
from services.quota.domain.rightsizing import Proposal, Usage, propose
from services.quota.domain.validation import parent_of
from services.quota.ports import RuleLedger, UsageLedger

MINUTE_MS = 60_000
RIGHTSIZING_MS = 28 * 86_400_000
PRUNE_S = 3_600.0

log = get_logger(__name__)


async def query_usage(
    ledger: UsageLedger, clock: Clock, key_prefix: str, from_ms: int, to_ms: int
) -> list[UsageWindow]:
    """Minutes summed over instances. `to_ms` 0 = now. Raises: Invalid when the range is turned around."""
    end_ms = to_ms or clock.now_ms() + 1
    if from_ms < 0 or end_ms < from_ms:
        raise Invalid(f"time range [{from_ms}, {end_ms}) is turned around or negative", field="from_time_ms")
    return list(await ledger.query_usage(key_prefix, from_ms, end_ms))


class Rightsizing:
    """Proposes; it changes nothing."""

    def __init__(self, rules: RuleLedger, usage: UsageLedger, clock: Clock) -> None:
        self._rules, self._usage, self._clock = rules, usage, clock

    async def propose(self, key_prefix: str, strategy: str) -> list[Proposal]:
        """One proposal per published rule that should change. Raises: Invalid for an unknown strategy."""
        published = [v.rule for v in await self._rules.list_rules("", is_published_only=True)]
        now_ms = self._clock.now_ms()
        with_usage = []
        for rule in published:
            if rule.key.startswith(key_prefix):
                windows = await self._usage.query_usage(rule.key, now_ms - RIGHTSIZING_MS, now_ms)
                exact = [window for window in windows if window.key == rule.key]
                with_usage.append((rule, await asyncio.to_thread(_series, rule, exact, now_ms)))
        capacities = _capacities([rule for rule, _ in with_usage], published)
        return await asyncio.to_thread(propose, with_usage, capacities, strategy)


@dataclass(frozen=True)
class Retention:
    """How much usage is kept."""

    max_age_s: float
    max_rows: int


class UsageRetention:
    """Forgets old usage every hour."""

    def __init__(self, ledger: UsageLedger, clock: Clock, retention: Retention) -> None:
        self.name = "usage retention"
        self._ledger, self._clock, self._retention = ledger, clock, retention

    async def start(self, tasks: asyncio.TaskGroup) -> None:
        """Begin the rounds."""
        tasks.create_task(self._prune_forever())

    async def stop(self, deadline: Deadline) -> None:
        """Nothing to finish."""

    async def prune(self) -> int:
        """One round; how many rows went."""
        before_ms = self._clock.now_ms() - int(self._retention.max_age_s * 1000)
        return await self._ledger.prune_usage(before_ms, self._retention.max_rows)

    async def _prune_forever(self) -> None:
        while True:
            try:
                if num_rows := await self.prune():
                    log.info("usage forgotten", rows=num_rows)
            except Unavailable as error:
                log.warning("usage not pruned", error=str(error))
            await self._clock.sleep(PRUNE_S)


def _series(rule: Rule, windows: Sequence[UsageWindow], now_ms: int) -> Usage:
    """Units per rule period of each whole minute from the first use on; a minute without use is 0."""
    this_minute = now_ms // MINUTE_MS
    whole = [window for window in windows if window.window_start_ms // MINUTE_MS < this_minute]
    if not whole:
        return np.zeros(0)
    first = min(window.window_start_ms for window in whole) // MINUTE_MS
    units = np.zeros(this_minute - first)
    for window in whole:
        units[window.window_start_ms // MINUTE_MS - first] += window.admitted
    return units * rule.period_s / 60.0


def _capacities(rules: Sequence[Rule], published: Sequence[Rule]) -> dict[str, float]:
    """Units per second for each owner whose rules all lie under one parent: what that parent admits."""
    parents: dict[str, set[Rule | None]] = {}
    for rule in rules:
        parents.setdefault(rule.owner, set()).add(parent_of(rule, published))
    return {
        owner: parent.rate_per_s
        for owner, found in parents.items()
        if len(found) == 1 and (parent := next(iter(found))) is not None
    }
