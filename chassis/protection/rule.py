"""One limit, and what makes it acceptable."""

import math
import re
from dataclasses import dataclass

from chassis.errors import Invalid

RATE, CAPACITY = "rate", "capacity"
UNITS = {RATE: ("requests", "events", "bytes", "rows"), CAPACITY: ("cores", "bytes", "pods", "volumes", "gpus")}
MAX_LEVELS = 6  # team/service/method/tenant, and two to grow
MAX_KEY_CHARS = 256
MAX_LIMIT = 2.0**53  # above it a float cannot count single units
LEAST_LIMIT, LEAST_PERIOD_S = 1e-6, 1e-3  # below them 1 / rate runs out of what a float can count
MAX_PERIOD_S = 31 * 86_400.0
LOWEST_TIER = 3
LEVEL = re.compile(r"\*|[^\s/*\x00-\x1f\x7f]+")


@dataclass(frozen=True)
class Rule:
    """At most `limit` units of `unit` per `period_s`, with `burst` more at once; of kind capacity: `limit` at a time.

    `key` is levels joined by "/", such as `surface/blender/GetFeed/default`. A shorter key is one budget for all that
    begins with it; "*" matches any one level, and every value it matches has a budget of its own.
    """

    key: str
    limit: float
    period_s: float = 1.0
    burst: float = 0.0
    unit: str = "requests"
    is_shadow: bool = False
    version: int = 0
    safe_share: float = 1.0  # of the limit, (0, 1]: what one process may use without a lease; 1 / processes is safe
    owner: str = ""
    tier: int = LOWEST_TIER  # 1 = most important
    guaranteed: float = 0.0  # never cut below this, units per period
    is_global: bool = False  # one limit for all processes together, shared by leases
    kind: str = RATE  # capacity is for the cluster: processes do not enforce it
    full_limit: float = 0.0  # limit before it was cut for its owner's budget; 0 = it was not

    @property
    def levels(self) -> tuple[str, ...]:
        """The key, level by level."""
        return tuple(self.key.split("/"))

    @property
    def rate_per_s(self) -> float:
        """Units per second."""
        return self.limit / self.period_s


def check_rule(rule: Rule) -> None:
    """Raises: Invalid naming the first field at fault."""
    for field, message in violations(rule):
        raise Invalid(f"rule {rule.key!r}: {field} {message}", field=field, reason="bad_rule")


def violations(rule: Rule) -> list[tuple[str, str]]:
    """Every (field, what it must be and is not); empty = acceptable."""
    limit_fault = _range_fault(rule.limit, LEAST_LIMIT, MAX_LIMIT)
    most = MAX_LIMIT if limit_fault else rule.limit  # one fault is told once
    found = [
        ("key", _key_fault(rule.key)),
        ("limit", limit_fault),
        ("period_s", _range_fault(rule.period_s, LEAST_PERIOD_S, MAX_PERIOD_S)),
        ("burst", _range_fault(rule.burst, 0.0, most)),
        ("kind", "" if rule.kind in UNITS else f"{rule.kind!r} must be one of {', '.join(UNITS)}"),
        ("unit", _unit_fault(rule)),
        ("safe_share", _range_fault(rule.safe_share, 0.0, 1.0, is_low_open=True)),
        ("tier", "" if rule.tier in (1, 2, LOWEST_TIER) else f"{rule.tier} must be 1, 2 or {LOWEST_TIER}"),
        ("guaranteed", _range_fault(rule.guaranteed, 0.0, most)),
        ("full_limit", _range_fault(rule.full_limit, most, MAX_LIMIT) if rule.full_limit and not limit_fault else ""),
    ]
    return [(field, fault) for field, fault in found if fault]


def matches(pattern: tuple[str, ...], levels: tuple[str, ...]) -> bool:
    """Whether a rule with these levels applies to the resource or rule `levels` (itself or below)."""
    is_long_enough = len(pattern) <= len(levels)
    return is_long_enough and all(p in ("*", level) for p, level in zip(pattern, levels, strict=False))


def _unit_fault(rule: Rule) -> str:
    known = UNITS.get(rule.kind, ())
    return "" if rule.unit in known or not known else f"{rule.unit!r} must be one of {', '.join(known)}"


def _key_fault(key: str) -> str:
    if not key or len(key) > MAX_KEY_CHARS:
        return f"must have 1 to {MAX_KEY_CHARS} characters, has {len(key)}"
    levels = key.split("/")
    if len(levels) > MAX_LEVELS:
        return f"must have at most {MAX_LEVELS} levels, has {len(levels)}"
    bad = [level for level in levels if not LEVEL.fullmatch(level)]
    wanted = "neither '*' nor a name without spaces, '*' and control characters"
    return f"{key!r} has a level {bad[0]!r} that is {wanted}" if bad else ""


def _range_fault(value: float, low: float, high: float, *, is_low_open: bool = False) -> str:
    is_inside = math.isfinite(value) and value <= high and (value > low if is_low_open else value >= low)
    return "" if is_inside else f"{value!r} must be in {'(' if is_low_open else '['}{low:g}, {high:.17g}]"
