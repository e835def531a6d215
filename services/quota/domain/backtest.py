"""What a strategy would have done to recorded usage: each proposal is judged by the week after it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from chassis.protection.rule import Rule
from services.quota.domain.demand import MINUTES_PER_WEEK, Strategy, Usage
from services.quota.domain.rightsizing import propose

MINUTE_S = 60.0


@dataclass(frozen=True)
class Outcome:
    """Units over all judged weeks: asked for, allowed and refused, under the limit in force and the proposed ones."""

    key: str
    unit: str
    num_runs: int
    asked: float
    allowed_before: float
    allowed_after: float
    refused_before: float
    refused_after: float

    @property
    def unused_before(self) -> float:
        """Allowed and not used."""
        return self.allowed_before - (self.asked - self.refused_before)

    @property
    def unused_after(self) -> float:
        """Likewise, under the proposed limits."""
        return self.allowed_after - (self.asked - self.refused_after)

    @property
    def saved(self) -> float:
        """Waste that the proposals take away; negative when they add some."""
        return self.unused_before - self.unused_after


def backtest(rule: Rule, asked: Usage, demand_of: Strategy) -> Outcome | None:
    """Run the strategy once a week on what was known then, and let the next week meet its limit. None with less than
    two whole weeks. `asked` is admitted and refused units per rule period, by minute.

    A minute is the smallest time here: within it, the rate and the burst are taken as evenly used.
    """
    num_weeks = len(asked) // MINUTES_PER_WEEK
    if num_weeks < 2:
        return None
    weeks = asked[-num_weeks * MINUTES_PER_WEEK :].reshape(num_weeks, MINUTES_PER_WEEK)
    proposed, limits = rule, []
    for week in range(1, num_weeks):
        known = weeks[:week].reshape(-1)
        for proposal in propose([(proposed, known)], demand_of, {}):
            proposed = proposal.proposed
        limits.append(proposed)
    judged = weeks[1:]
    before = [_meet(rule, week) for week in judged]
    after = [_meet(limit, week) for limit, week in zip(limits, judged, strict=True)]
    per_minute = MINUTE_S / rule.period_s
    return Outcome(
        rule.key,
        rule.unit,
        len(limits),
        float(judged.sum()) * per_minute,
        *(sum(allowed for allowed, _ in met) * per_minute for met in (before, after)),
        *(sum(refused for _, refused in met) * per_minute for met in (before, after)),
    )


def total(outcomes: Sequence[Outcome]) -> Outcome:
    """The sum of all, key and unit empty."""
    names = ("num_runs", "asked", "allowed_before", "allowed_after", "refused_before", "refused_after")
    return Outcome("", "", *(sum(getattr(outcome, name) for outcome in outcomes) for name in names))


def _meet(rule: Rule, asked: Usage) -> tuple[float, float]:
    """(allowed, refused), units per period times minutes. The burst helps a minute that follows a quieter one."""
    burst = rule.burst * rule.period_s / MINUTE_S  # of the units of a minute, as units per period
    room = np.minimum(burst, np.maximum(0.0, rule.limit - np.concatenate([[0.0], asked[:-1]])))
    refused = np.maximum(0.0, asked - rule.limit - room)
    return rule.limit * len(asked), float(refused.sum())
