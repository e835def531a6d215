"""Who may change a rule, and when one person is not enough."""

from collections.abc import Mapping
from dataclasses import dataclass

from chassis.errors import Invalid, PermissionDenied
from chassis.protection.rule import Rule

LARGE_CHANGE_RATIO = 0.25


@dataclass(frozen=True)
class Authority:
    """`groups` maps an owner that is a group to its members; any other owner is a person."""

    admins: frozenset[str]
    groups: Mapping[str, frozenset[str]]

    def check(self, actor: str, owner: str) -> None:
        """Raises: Invalid without an actor, PermissionDenied when they are neither owner nor admin."""
        if not actor:
            raise Invalid("the actor is missing", field="actor")
        if actor not in self.admins | self.groups.get(owner, frozenset({owner})):
            raise PermissionDenied(f"{actor!r} is neither {owner!r} nor one of its members nor an admin", field="actor")


def second_person_reason(rule: Rule, published: Rule | None) -> str:
    """Why somebody other than its author must approve `rule`; "" when the author may do it."""
    if rule.tier == 1 or (published is not None and published.tier == 1):
        return "it concerns tier 1"
    if published is None:
        return ""
    change = abs(rule.rate_per_s - published.rate_per_s) / published.rate_per_s
    if change > LARGE_CHANGE_RATIO:
        return f"it changes the rate by {change:.0%}, more than {LARGE_CHANGE_RATIO:.0%}"
    return "it turns enforcement on or off" if rule.is_shadow != published.is_shadow else ""


def parse_groups(text: str) -> Mapping[str, frozenset[str]]:
    """`feed=ann,bob;ads=eve` as a mapping.

    Raises: Invalid when an entry has no name or no member.
    """
    groups = {}
    for entry in filter(None, (part.strip() for part in text.split(";"))):
        name, _, members = entry.partition("=")
        people = parse_people(members)
        if not name.strip() or not people:
            raise Invalid(f"group {entry!r} must look like name=person,person", field="groups")
        groups[name.strip()] = people
    return groups


def parse_people(text: str) -> frozenset[str]:
    """Names separated by commas."""
    return frozenset(filter(None, (name.strip() for name in text.split(","))))
