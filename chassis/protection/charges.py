"""Which budgets one resource is charged to."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from weakref import WeakValueDictionary

from chassis.gcra import Gcra
from chassis.protection.lease import LeasedGcra
from chassis.protection.lease_desk import LeasedBudget
from chassis.protection.rule import Rule
from chassis.protection.usage import Tally


class Charge:
    """One level of a resource: its rule, its budget and where its units are counted."""

    __slots__ = ("before_s", "gcra", "is_shadow", "key", "limit", "period_s", "tally")

    def __init__(self, rule: Rule, gcra: Gcra, tally: Tally, *, is_shadow: bool) -> None:
        self.key, self.gcra, self.tally, self.is_shadow = rule.key, gcra, tally, is_shadow
        self.limit, self.period_s = rule.limit, rule.period_s
        self.before_s = 0.0  # the budget before the charge in progress


@dataclass(frozen=True, slots=True)
class Plan:
    """Every charge of one resource, outermost level first; `only` is set when there is exactly one."""

    charges: tuple[Charge, ...]
    only: Charge | None
    max_cost: float  # what no budget below could ever admit at once


class RuleIndex:
    """Finds the rules of a resource by trying the shapes of wildcards that exist, not every rule."""

    def __init__(self, rules: Iterable[Rule] = ()) -> None:
        self.by_levels: Mapping[tuple[str, ...], Rule] = {rule.levels: rule for rule in rules}
        shapes = {tuple(level == "*" for level in levels) for levels in self.by_levels}
        self._shapes = sorted(shapes, key=lambda shape: (len(shape), shape))

    def matching(self, levels: tuple[str, ...]) -> Iterator[tuple[Rule, str]]:
        """(rule, concrete key of the budget), shorter keys first, names before wildcards."""
        for shape in self._shapes:
            if len(shape) > len(levels):
                return
            pattern = tuple("*" if is_any else level for is_any, level in zip(shape, levels, strict=False))
            if (rule := self.by_levels.get(pattern)) is not None:
                yield rule, "/".join(levels[: len(shape)])


class Planner:
    """Makes plans. A budget lives as long as a plan that charges it, and through a change of rules while it has debt:
    so two plans never hold two budgets for one key, and new rules give nobody a fresh burst.
    """

    def __init__(self, now_s: Callable[[], float], *, is_shadow: bool = False) -> None:
        self._now_s, self._is_shadow = now_s, is_shadow
        self._index = RuleIndex()
        self._budgets: WeakValueDictionary[tuple[str, str], Gcra] = WeakValueDictionary()
        self._kept: list[Gcra] = []
        self._tallies: dict[str, Tally] = {}

    def set_rules(self, rules: Iterable[Rule]) -> None:
        """Use `rules` for every plan made from now on; they must be acceptable, and older plans forgotten after."""
        now_s = self._now_s()
        self._index = RuleIndex(rules)
        self._kept = [gcra for gcra in self._budgets.values() if gcra.tat_s > now_s or isinstance(gcra, LeasedGcra)]
        # A global rule without "*" has its lease before its first request, and while there is none.
        self._kept += [self._budget(r, r.key) for r in self._index.by_levels.values() if r.is_global and is_exact(r)]

    def leased_budgets(self) -> list[LeasedBudget]:
        """Every budget in use under a global rule that is in force."""
        in_force = {rule.key for rule in self._index.by_levels.values() if rule.is_global}
        return [
            LeasedBudget(key, budget_key, gcra)
            for (key, budget_key), gcra in list(self._budgets.items())
            if key in in_force and isinstance(gcra, LeasedGcra)
        ]

    def plan(self, resource: str) -> Plan:
        """The charges of `resource`; empty when no rule matches."""
        found = list(self._index.matching(tuple(resource.split("/"))))
        charges = tuple(self._charge(rule, budget_key) for rule, budget_key in found)
        # A cost of one is always possible, also under a limit such as one in two seconds.
        max_cost = min((max(rule.limit, 1.0) for rule, _ in found), default=float("inf"))
        return Plan(charges, charges[0] if len(charges) == 1 else None, max_cost)

    def drain(self) -> list[tuple[str, Tally]]:
        """(rule key, units since the last drain); the counters in use start again from zero."""
        drained = [(key, tally.drain()) for key, tally in self._tallies.items() if not tally.is_empty]
        in_force = {rule.key for rule in self._index.by_levels.values()}
        self._tallies = {key: tally for key, tally in self._tallies.items() if key in in_force}
        return drained

    def _charge(self, rule: Rule, budget_key: str) -> Charge:
        tally = self._tallies.setdefault(rule.key, Tally(rule.version))
        tally.rule_version = rule.version
        gcra = self._budget(rule, budget_key)
        return Charge(rule, gcra, tally, is_shadow=rule.is_shadow or self._is_shadow)

    def _budget(self, rule: Rule, budget_key: str) -> Gcra:
        now_s = self._now_s()
        held = self._budgets.get((rule.key, budget_key))
        if held is not None and isinstance(held, LeasedGcra) == rule.is_global:
            if isinstance(held, LeasedGcra):
                held.set_rule(rule, now_s)
            else:
                held.configure(rule.rate_per_s * rule.safe_share, rule.burst * rule.safe_share, now_s)
            return held
        made = _new_budget(rule, now_s)
        if held is not None:  # the rule became global, or ceased to be: the debt in units goes on
            made.tat_s = now_s + max(0.0, held.tat_s - now_s) * made.interval_s / held.interval_s
        self._budgets[rule.key, budget_key] = made
        return made


def is_exact(rule: Rule) -> bool:
    """Whether the rule is one budget, not one for each name that a "*" stands for."""
    return "*" not in rule.levels


def _new_budget(rule: Rule, now_s: float) -> Gcra:
    if rule.is_global:
        return LeasedGcra(rule, now_s)
    return Gcra(rule.rate_per_s * rule.safe_share, rule.burst * rule.safe_share)
