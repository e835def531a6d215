"""Whether a rule makes sense by itself and among the published ones."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from chassis.protection.rule import Rule, matches, violations

ROUNDING_RATIO = 1e-9


@dataclass(frozen=True)
class Violation:
    """What is wrong with which field, and what would be right."""

    field: str
    message: str


Check = Callable[[Rule, Sequence[Rule]], Iterable[Violation]]


def unsound(rule: Rule) -> list[Violation]:
    """What is wrong with the numbers and names of `rule` alone; with any of it, no check can compute."""
    return [Violation(field, message) for field, message in violations(rule)]


def validate(rule: Rule, published: Sequence[Rule], checks: Sequence[Check] = ()) -> list[Violation]:
    """Every violation of `rule`, were it published beside `published`; empty = valid."""
    others = [other for other in published if other.key != rule.key]
    return unsound(rule) or [violation for check in checks or CHECKS.values() for violation in check(rule, others)]


def has_owner(rule: Rule, _: Sequence[Rule]) -> Iterable[Violation]:
    """Somebody must answer for it."""
    if not rule.owner:
        yield Violation("owner", "name the person or group that may change this rule")


def fits_parent(rule: Rule, others: Sequence[Rule]) -> Iterable[Violation]:
    """The children of each parent, this rule among them, must not sum up to more than the parent admits."""
    if (parent := parent_of(rule, others)) is not None:
        yield from _overflow(parent, [rule, *children_of(parent, [*others, rule], without=rule.key)])
    yield from _overflow(rule, children_of(rule, [*others, rule], without=rule.key))


def is_not_shadowed(rule: Rule, others: Sequence[Rule]) -> Iterable[Violation]:
    """A rule under a wildcard that is never looser would never be the one that refuses."""
    for other in others:
        if _shadows(other, rule):
            yield Violation("limit", f"rule {other.key!r} admits no more to the same callers: this rule has no effect")
        if _shadows(rule, other):
            yield Violation("key", f"rule {other.key!r} would have no effect beside this one: revoke it or tighten it")


CHECKS: Mapping[str, Check] = {"owner": has_owner, "parent": fits_parent, "shadowed": is_not_shadowed}


def parent_of(rule: Rule, others: Sequence[Rule]) -> Rule | None:
    """The rule with the longest shorter key above `rule`, of the same unit, with no wildcard."""
    above = [
        other
        for other in others
        if (other.kind, other.unit) == (rule.kind, rule.unit)
        and "*" not in other.levels
        and len(other.levels) < len(rule.levels)
        and rule.levels[: len(other.levels)] == other.levels
    ]
    return max(above, key=lambda other: len(other.levels), default=None)


def children_of(parent: Rule, rules: Sequence[Rule], *, without: str = "") -> list[Rule]:
    """The rules of `rules` whose parent is `parent`, but for the key `without`."""
    candidates = [rule for rule in rules if rule.key not in (parent.key, without)]
    everyone = [*(rule for rule in rules if rule.key != parent.key), parent]
    return [rule for rule in candidates if parent_of(rule, everyone) is parent]


def _overflow(parent: Rule, children: Sequence[Rule]) -> Iterable[Violation]:
    wildcards = [child for child in children if "*" in child.levels]
    named = [child for child in children if "*" not in child.levels]
    for child in wildcards:  # how many values a wildcard meets is unknown: each one must fit alone
        if child.rate_per_s > parent.rate_per_s * (1 + ROUNDING_RATIO):
            yield Violation("limit", f"{child.key!r} admits more per second than its parent {parent.key!r}")
    total = sum(child.rate_per_s for child in named)
    if total > parent.rate_per_s * (1 + ROUNDING_RATIO):
        yield Violation(
            "limit", f"children of {parent.key!r} sum up to {total:g} {parent.unit}/s, it admits {parent.rate_per_s:g}"
        )


def _shadows(glob: Rule, rule: Rule) -> bool:
    is_over_it = "*" in glob.levels and glob.levels != rule.levels and matches(glob.levels, rule.levels)
    is_enforced = (glob.kind, glob.unit) == (rule.kind, rule.unit) and not glob.is_shadow
    return is_over_it and is_enforced and glob.rate_per_s <= rule.rate_per_s and glob.burst <= rule.burst
