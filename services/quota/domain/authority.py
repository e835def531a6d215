"""Who may change a rule, and when one person is not enough."""

from collections.abc import Mapping
from dataclasses import dataclass

from chassis.errors import Invalid, PermissionDenied
from chassis.protection.rule import Rule

LARGE_CHANGE_RATIO = 0.25
TURNS = {  # changes that have no size
    "is_shadow": "it turns enforcement on or off",
    "is_global": "it makes one limit of every process's, or the other way round",
    "kind": "it changes the kind",
    "unit": "it changes the unit",
    "owner": "it gives the rule to somebody else",
}


@dataclass(frozen=True)
class Authority:
    """`groups` maps an owner that is a group to its members; any other owner is a person."""

    admins: frozenset[str]
    groups: Mapping[str, frozenset[str]]

    def check(self, actor: str, owner: str) -> None:
        """Raises: Invalid without an actor, PermissionDenied when they are neither owner nor admin."""
        if not actor:
            raise Invalid("the actor is missing", field="actor")
        if not self.is_admin(actor) and actor not in self.groups.get(owner, frozenset({owner})):
            raise PermissionDenied(f"{actor!r} is neither {owner!r} nor one of its members nor an admin", field="actor")

    def is_admin(self, actor: str) -> bool:
        """Whether `actor` may change every rule."""
        return actor in self.admins


def revoke_reason(rule: Rule) -> str:
    """Why taking `rule` out of force needs a second person; "" when it does not."""
    return "it concerns tier 1" if rule.tier == 1 else ""


def second_person_reason(rule: Rule, published: Rule | None) -> str:
    """Why somebody other than its author must approve `rule`; "" when the author may do it."""
    if rule.tier == 1 or (published is not None and published.tier == 1):
        return "it concerns tier 1"
    if published is None:
        return ""
    for name, before, after, scale in (
        ("the rate", published.rate_per_s, rule.rate_per_s, published.rate_per_s),
        ("the burst", published.burst, rule.burst, published.burst or published.limit),
        ("the safe share", published.safe_share, rule.safe_share, published.safe_share),
        ("what is guaranteed", published.guaranteed, rule.guaranteed, published.guaranteed or published.limit),
    ):
        change = abs(after - before) / scale
        if change > LARGE_CHANGE_RATIO:
            return f"it changes {name} by {change:.0%}, more than {LARGE_CHANGE_RATIO:.0%}"
    return next((why for field, why in TURNS.items() if getattr(rule, field) != getattr(published, field)), "")


@dataclass(frozen=True)
class Policy:
    """What needs nobody to approve it: proposals that change the rate little, of tiers that matter less; 0 = none."""

    max_change_ratio: float = 0.0
    tiers: frozenset[int] = frozenset({3})

    def approves(self, current: Rule, proposed: Rule) -> bool:
        """Whether `proposed` may be published at once in place of `current`."""
        change = abs(proposed.rate_per_s - current.rate_per_s) / current.rate_per_s
        is_small = self.max_change_ratio > 0 and change <= self.max_change_ratio
        return is_small and proposed.tier in self.tiers and not second_person_reason(proposed, current)

    def __str__(self) -> str:
        return f"changes up to {self.max_change_ratio:.0%} of tier {', '.join(map(str, sorted(self.tiers)))}"


def parse_tiers(text: str) -> frozenset[int]:
    """`2,3` as tiers. Raises: Invalid."""
    try:
        tiers = frozenset(int(part) for part in text.split(",") if part.strip())
    except ValueError as error:
        raise Invalid(f"tiers {text!r} must look like 2,3", field="policy_tiers") from error
    if not tiers <= {2, 3}:
        raise Invalid(f"tiers {text!r}: a policy may approve of tier 2 and 3 only", field="policy_tiers")
    return tiers


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
