"""Limits that pay for spending above a budget, and how they come back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from chassis.errors import Invalid
from chassis.protection.rule import RATE, Rule, matches
from services.quota.domain.rightsizing import Proposal

CAP = {1: 0.10, 2: 0.25, 3: 0.50}  # the largest share that a rule may lose, by tier
SLOPE = {1: 0.25, 2: 0.5, 3: 1.0}  # share lost per overage of 100 %
NUM_RESTORE_STEPS = 4  # from the deepest cut of a tier back to the full limit
DAY_MS = 86_400_000
WINDOW_DAYS = 28


@dataclass(frozen=True)
class Budget:
    """What `owner` may spend in each window of `window_days` days counted from epoch; a unit costs its `price`."""

    owner: str
    amount: float
    window_days: int = WINDOW_DAYS
    price: Mapping[str, float] = field(default_factory=dict)

    def window_of(self, time_ms: int) -> int:
        """Number of the window that `time_ms` is in."""
        return time_ms // (self.window_days * DAY_MS)

    def window_start_ms(self, time_ms: int) -> int:
        """When that window began."""
        return self.window_of(time_ms) * self.window_days * DAY_MS


def check_budget(budget: Budget) -> None:
    """Raises: Invalid naming the field at fault."""
    if not budget.owner:
        raise Invalid("a budget needs an owner", field="owner")
    if not 0 < budget.amount < float("inf"):
        raise Invalid(f"budget of {budget.owner!r}: amount {budget.amount!r} must be above 0", field="amount")
    if not 1 <= budget.window_days <= 366:
        raise Invalid(f"budget of {budget.owner!r}: {budget.window_days} days must be in [1, 366]", field="window_days")
    for unit, price in budget.price.items():
        if not 0 <= price < float("inf"):
            raise Invalid(f"budget of {budget.owner!r}: price {price!r} of {unit} must not be negative", field="price")


def paying_rules(rules: Sequence[Rule], owner: str) -> list[Rule]:
    """Rate rules of `owner` whose units count: one below another of theirs counts the same units again."""
    theirs = [rule for rule in rules if rule.owner == owner and rule.kind == RATE]
    return [rule for rule in theirs if not any(_covers(other, rule) for other in theirs)]


def spend(budget: Budget, units: Mapping[str, float]) -> float:
    """Cost of `units` (unit -> how many)."""
    return sum(budget.price.get(unit, 0.0) * number for unit, number in units.items())


def overage(budget: Budget, spent: float) -> float:
    """How much of the budget was spent beyond it; 0.2 = a fifth too much."""
    return max(0.0, spent / budget.amount - 1.0)


def cut(rule: Rule, over: float) -> Rule:
    """`rule` after a haircut for `over`. It counts from the full limit, so a second one does not add up, and it never
    raises a limit or goes below what is guaranteed.
    """
    full = rule.full_limit or rule.limit
    wanted = max(rule.guaranteed, full * (1.0 - min(CAP[rule.tier], SLOPE[rule.tier] * over)))
    limit = min(rule.limit, wanted)
    if limit >= rule.limit:
        return rule
    return replace(rule, limit=limit, burst=min(rule.burst, limit), full_limit=full)


def restored(rule: Rule) -> Rule:
    """`rule` one step nearer to its full limit; the steps of a tier are equal, the last one may be shorter."""
    if not rule.full_limit:
        return rule
    step = rule.full_limit * CAP[rule.tier] / NUM_RESTORE_STEPS
    if rule.limit + step >= rule.full_limit * (1 - 1e-9):
        return replace(rule, limit=rule.full_limit, full_limit=0.0)
    return replace(rule, limit=rule.limit + step)


def haircuts(budget: Budget, published: Sequence[tuple[Rule, int]], spent: float, now_ms: int) -> list[Proposal]:
    """What should happen to the rules of the budget's owner; `published` has each rule and when it came into force.

    While the window is overspent: a cut. In a later window that is not: one step back a day.
    """
    over = overage(budget, spent)
    found = []
    for rule, since_ms in published:
        if rule.owner != budget.owner or rule.kind != RATE:
            continue
        if over > 0:
            proposed = cut(rule, over)
            why = f"{spent:.6g} of {budget.amount:.6g} spent, {over:.1%} over the budget of {budget.owner}"
        elif budget.window_of(since_ms) < budget.window_of(now_ms) and now_ms - since_ms >= DAY_MS:
            proposed = restored(rule)
            why = f"{budget.owner} is within budget: one of {NUM_RESTORE_STEPS} steps back to {rule.full_limit:.4g}"
        else:
            continue
        if proposed != rule:
            found.append(Proposal(rule, proposed, f"{why}: limit {rule.limit:.4g} -> {proposed.limit:.4g}"))
    return sorted(found, key=lambda proposal: (proposal.proposed.limit > proposal.current.limit, proposal.current.key))


def _covers(other: Rule, rule: Rule) -> bool:
    return other.key != rule.key and other.unit == rule.unit and matches(other.levels, rule.levels)
