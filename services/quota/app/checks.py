"""Asks every configured check about a rule, each within a time limit."""

import asyncio
from collections.abc import Collection, Mapping, Sequence

from chassis.errors import CorkboardError, Invalid, Unavailable
from chassis.metrics import Metrics
from chassis.protection.rule import Rule
from services.quota.domain.validation import CHECKS, Check, Violation, unsound
from services.quota.ports import RuleCheck


class FunctionCheck:
    """RuleCheck: a function of this process; it runs in a thread, so a slow one delays nobody else."""

    def __init__(self, name: str, function: Check) -> None:
        self.name = name
        self._function = function

    async def check(self, rule: Rule, published: Sequence[Rule]) -> Sequence[Violation]:
        """See RuleCheck."""
        return await asyncio.to_thread(lambda: list(self._function(rule, published)))


class Checks:
    """All checks must agree. One that cannot be asked is no consent: then the rule stays as it is."""

    def __init__(self, checks: Sequence[RuleCheck], limit_s: float, metrics: Metrics) -> None:
        self._checks, self._limit_s = checks, limit_s
        self._outcomes = metrics.counter("quota_rule_checks_total", "Checks of rules.", ("check", "outcome"))

    async def violations(self, rule: Rule, published: Sequence[Rule]) -> list[Violation]:
        """Every violation, in the order of the checks. Raises: Unavailable naming the check that did not answer."""
        if found := unsound(rule):
            return found
        others = [other for other in published if other.key != rule.key]
        answers = await asyncio.gather(*(self._ask(check, rule, others) for check in self._checks))
        return [violation for answer in answers for violation in answer]

    async def _ask(self, check: RuleCheck, rule: Rule, others: Sequence[Rule]) -> Sequence[Violation]:
        outcome = "failed"
        try:
            async with asyncio.timeout(self._limit_s):
                found = await check.check(rule, others)
            outcome = "refused" if found else "passed"
            return found
        except (CorkboardError, TimeoutError) as error:
            why = "no answer in time" if isinstance(error, TimeoutError) else str(error)
            raise Unavailable(
                f"check {check.name!r} of rule {rule.key!r} could not be made within {self._limit_s:g} s: {why}",
                reason="check_unavailable",
                retry_after_s=self._limit_s,
            ) from error
        except Exception as error:  # an edge: checks are plug-ins of others
            raise Unavailable(
                f"check {check.name!r} failed on rule {rule.key!r}: {type(error).__name__}: {error}",
                reason="check_failed",
            ) from error
        finally:
            self._outcomes.labels(check.name, outcome).inc()


def chosen_checks(names: str, known: Mapping[str, Check] = CHECKS, *, ignored: Collection[str] = ()) -> list[RuleCheck]:
    """The built-in checks named in `names`, separated by commas; those in `ignored` are made elsewhere.

    Raises: Invalid for an unknown one.
    """
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    if unknown := [name for name in wanted if name not in {*known, *ignored}]:
        raise Invalid(f"check {unknown[0]!r} must be one of {', '.join([*known, *ignored])}", field="checks")
    return [FunctionCheck(name, known[name]) for name in wanted if name in known]
