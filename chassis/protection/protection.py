"""The quota decision of this process: no call leaves it."""

from collections.abc import Iterable, Sequence

from chassis.clock import SYSTEM_CLOCK, Clock
from chassis.errors import Invalid, OverQuota
from chassis.logs import get_logger
from chassis.metrics import Metrics
from chassis.protection.charges import Charge, Plan, Planner
from chassis.protection.lease_desk import LeasedBudget
from chassis.protection.recent import RecentKeys
from chassis.protection.rule import RATE, Rule, check_rule
from chassis.protection.usage import UsageWindow

MAX_KEYS = 100_000  # about 50 MB of budgets and plans at the worst

log = get_logger(__name__)


class Protection:
    """Admits or refuses; for one event loop, not for threads.

    With `is_shadow` every rule only counts what it would refuse.
    """

    def __init__(
        self,
        *,
        clock: Clock = SYSTEM_CLOCK,
        metrics: Metrics | None = None,
        is_shadow: bool = False,
        max_keys: int = MAX_KEYS,
    ) -> None:
        self._clock, self._now_s = clock, clock.monotonic_s
        self._planner = Planner(self._now_s, is_shadow=is_shadow)
        self._plans: RecentKeys[str, Plan] = RecentKeys(max_keys, self._planner.plan)
        self._rules: tuple[Rule, ...] = ()
        self._window_start_ms = clock.now_ms()
        self.num_bad_rule_sets = 0
        metrics = self._metrics = metrics or Metrics("protection")
        self._bad_sets = metrics.counter("protection_bad_rule_sets_total", "Rule sets refused as a whole.")
        help_text = "Units decided, counted when usage is drained."
        self._units = metrics.counter("protection_units_total", help_text, ("rule", "outcome"))

    @property
    def rules(self) -> Sequence[Rule]:
        """The rules in force."""
        return self._rules

    def admit(self, resource: str, cost: float = 1.0) -> None:
        """Charge `cost` units to every rule that matches `resource` (`team/service/method/tenant`), or to none.

        Raises: OverQuota with `retry_after_s` and the refusing rule's key as `field`; Invalid for a cost that is
        negative, not a number, or more than a rule admits in a whole period.
        """
        plan = self._plans[resource]
        if not 0.0 <= cost <= plan.max_cost:
            raise _bad_cost(resource, cost, plan)
        only = plan.only
        if only is not None:
            wait_s = only.gcra.take(self._now_s(), cost)
            if wait_s > 0.0:
                _refuse(only, resource, cost, wait_s)
            only.tally.admitted += cost
        elif plan.charges:
            self._admit_levels(plan.charges, resource, cost)

    def admit_all(self, costs: Sequence[tuple[str, float]]) -> None:
        """Charge each (resource, cost), or none of them: one request that is paid in several units.

        Raises: as `admit`, for the first that is refused.
        """
        plans = [(resource, cost, self._plans[resource]) for resource, cost in costs]
        for resource, cost, plan in plans:
            if not 0.0 <= cost <= plan.max_cost:
                raise _bad_cost(resource, cost, plan)
        paid: list[tuple[Charge, float, float]] = []
        for resource, cost, plan in plans:
            try:
                self._admit_levels(plan.charges, resource, cost)
            except OverQuota:
                for charge, before_s, given in reversed(paid):
                    charge.gcra.tat_s = before_s
                    charge.tally.admitted -= given
                raise
            paid += [(charge, charge.before_s, cost) for charge in plan.charges]

    def set_rules(self, rules: Iterable[Rule]) -> bool:
        """Replace every rule; False and no change (counted) when one of them is not acceptable or comes twice.

        Rules of capacity are not for processes and left out.
        """
        candidate = tuple(rules)
        try:
            for rule in candidate:
                check_rule(rule)
            if len({rule.key for rule in candidate}) != len(candidate):
                raise Invalid("two rules have the same key", field="key")
        except Invalid as error:
            self.num_bad_rule_sets += 1
            self._bad_sets.inc()
            log.warning("rule set refused, last good one kept", error=str(error), field=error.field)
            return False
        self._rules = tuple(rule for rule in candidate if rule.kind == RATE)
        self._planner.set_rules(self._rules)
        self._plans.forget()
        return True

    def leased_budgets(self) -> list[LeasedBudget]:
        """Every budget in use under a global rule, for whoever keeps the leases."""
        return self._planner.leased_budgets()

    def drain_usage(self) -> list[UsageWindow]:
        """Units per rule since the last drain, and start the next window."""
        start_ms, now_ms = self._window_start_ms, self._clock.now_ms()
        self._window_start_ms = now_ms
        windows = [
            UsageWindow(
                key,
                start_ms,
                max(1, now_ms - start_ms),
                tally.admitted,
                tally.refused,
                tally.shadow_refused,
                tally.rule_version,
            )
            for key, tally in self._planner.drain()
        ]
        self._count(windows)
        return windows

    def _admit_levels(self, charges: tuple[Charge, ...], resource: str, cost: float) -> None:
        now_s = self._now_s()
        for taken, charge in enumerate(charges):
            before_s = charge.gcra.tat_s
            wait_s = charge.gcra.take(now_s, cost)
            charge.before_s = before_s
            if wait_s > 0.0:
                if not charge.is_shadow:
                    for paid in charges[:taken]:  # a refused request is charged to no level
                        paid.gcra.tat_s = paid.before_s
                _refuse(charge, resource, cost, wait_s)
        for charge in charges:
            charge.tally.admitted += cost

    def _count(self, windows: Sequence[UsageWindow]) -> None:
        for window in windows:
            rule = self._metrics.bounded(window.key)
            self._units.labels(rule, "admitted").inc(window.admitted)
            self._units.labels(rule, "refused").inc(window.refused)
            self._units.labels(rule, "shadow_refused").inc(window.shadow_refused)


def _refuse(charge: Charge, resource: str, cost: float, wait_s: float) -> None:
    """Count a refusal; raise it unless the rule only watches."""
    if charge.is_shadow:
        charge.tally.shadow_refused += cost
        return
    charge.tally.refused += cost
    raise OverQuota(
        f"{resource}: {cost:g} units are over the quota of rule {charge.key}, retry in {wait_s:.3f} s",
        rule=charge.key,
        limit=charge.limit,
        period_s=charge.period_s,
        retry_after_s=wait_s,
    )


def _bad_cost(resource: str, cost: float, plan: Plan) -> Invalid:
    return Invalid(
        f"{resource}: cost {cost!r} must be in [0, {plan.max_cost:g}], the most its rules admit in a period",
        field="cost",
        reason="bad_cost",
    )
