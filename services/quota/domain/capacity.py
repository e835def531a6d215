"""Capacity of a team in a zone: what its pods may ask of the cluster in all, and each container by default."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from chassis.errors import Invalid
from chassis.protection.rule import CAPACITY, Rule
from services.quota.domain.validation import Violation

LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
QUANTITY = re.compile(r"\d+(\.\d+)?(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?")
SUFFIXES = {"n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3"), "": Decimal(1)}
SUFFIXES |= {letter: Decimal(1000) ** power for power, letter in enumerate("kMGTPE", 1)}
SUFFIXES |= {f"{letter}i": Decimal(1024) ** power for power, letter in enumerate("KMGTPE", 1)}
# Level of a rule's key -> (name of Kubernetes, unit). A name with a slash could not be a level.
HARD = {
    "requests.cpu": ("requests.cpu", "cores"),
    "limits.cpu": ("limits.cpu", "cores"),
    "requests.memory": ("requests.memory", "bytes"),
    "limits.memory": ("limits.memory", "bytes"),
    "requests.storage": ("requests.storage", "bytes"),
    "pods": ("pods", "pods"),
    "volumes": ("persistentvolumeclaims", "volumes"),
    "gpu": ("requests.nvidia.com/gpu", "gpus"),
}
CONTAINER = {"container.cpu": ("cpu", "cores"), "container.memory": ("memory", "bytes")}
RESOURCES = HARD | CONTAINER
SCHEMA = "capacity/<resource>[/<zone>[/<team>]]"


@dataclass(frozen=True)
class CapacityKey:
    """What a capacity rule is about; an empty zone or team means all of them."""

    resource: str
    zone: str = ""
    team: str = ""


@dataclass(frozen=True)
class CapacityQuota:
    """`hard` and `container_default` are Kubernetes quantities by resource, such as {"requests.cpu": "40"}."""

    team: str
    zone: str
    namespace: str
    hard: Mapping[str, str]
    container_default: Mapping[str, str] = field(default_factory=dict)
    source: str = ""  # what it was made of; another one means that it changed on purpose

    @property
    def name(self) -> str:
        """Name of the objects in the cluster."""
        return f"corkboard-{self.team}-{self.zone}"


def parse_key(key: str) -> CapacityKey:
    """Raises: Invalid when it is no key of capacity."""
    first, *rest = key.split("/")
    if first != CAPACITY or not 1 <= len(rest) <= 3:
        raise Invalid(f"key {key!r} must look like {SCHEMA}", field="key")
    parsed = CapacityKey(*rest)
    if parsed.resource not in RESOURCES:
        raise Invalid(f"resource {parsed.resource!r} must be one of {', '.join(sorted(RESOURCES))}", field="key")
    for name, value in (("zone", parsed.zone), ("team", parsed.team)):
        if value and not LABEL.fullmatch(value):
            raise Invalid(f"{name} {value!r} must be lower case letters, digits and '-'", field="key")
    return parsed


def is_sound_capacity(rule: Rule, _: Sequence[Rule]) -> Iterable[Violation]:
    """A check of rules: the key says what is limited, and the unit fits."""
    if rule.kind != CAPACITY:
        if rule.levels[0] == CAPACITY:
            yield Violation("kind", f"a key that begins with {CAPACITY!r} needs kind {CAPACITY!r}")
        return
    try:
        unit = RESOURCES[parse_key(rule.key).resource][1]
    except Invalid as error:
        yield Violation(error.field, error.message)
        return
    if rule.unit != unit:
        yield Violation("unit", f"{rule.key!r} is counted in {unit}, not in {rule.unit}")
    for name, usual in (("period_s", 1.0), ("burst", 0.0), ("safe_share", 1.0), ("is_global", False)):
        if getattr(rule, name) != usual:
            yield Violation(name, f"has no meaning for capacity: leave it at {usual}")
    if rule.is_shadow:
        yield Violation("is_shadow", "a cluster cannot only count: leave it off")


def quotas_of(rules: Sequence[Rule], namespace: str) -> list[CapacityQuota]:
    """One quota per team and zone that has rules; `namespace` is a template of {team} and {zone}."""
    grouped: dict[tuple[str, str], list[tuple[CapacityKey, Rule]]] = {}
    for rule in sorted(rules, key=lambda rule: rule.key):
        if rule.kind == CAPACITY and (key := parse_key(rule.key)).team:
            grouped.setdefault((key.zone, key.team), []).append((key, rule))
    return [
        CapacityQuota(
            team,
            zone,
            namespace.format(team=team, zone=zone),
            _quantities(members, HARD),
            _quantities(members, CONTAINER),
            source=",".join(f"{rule.key}:{rule.version}" for _, rule in members),
        )
        for (zone, team), members in sorted(grouped.items())
    ]


def _quantities(members: Sequence[tuple[CapacityKey, Rule]], names: Mapping[str, tuple[str, str]]) -> dict[str, str]:
    return {names[key.resource][0]: quantity(rule.limit, rule.unit) for key, rule in members if key.resource in names}


def quantity(amount: float, unit: str) -> str:
    """`amount` as Kubernetes writes it: thousandths of a core, whole pieces of everything else, rounded down."""
    if unit == "cores":
        thousandths = int(amount * 1000 + 1e-6)
        return f"{thousandths}m" if thousandths % 1000 else str(thousandths // 1000)
    whole = int(amount)
    for suffix in ("Gi", "Mi") if unit == "bytes" and whole else ():
        if whole % int(SUFFIXES[suffix]) == 0:
            return f"{whole // int(SUFFIXES[suffix])}{suffix}"
    return str(whole)


def amount(quantity: str) -> float:
    """A Kubernetes quantity as a number. Raises: Invalid."""
    match = re.fullmatch(r"([0-9]+\.?[0-9]*(?:[eE][+-]?[0-9]+)?)([a-zA-Z]*)", quantity)
    if match is None or match.group(2) not in SUFFIXES:
        raise Invalid(f"{quantity!r} is no quantity such as 500m, 4 or 16Gi", field="quantity")
    return float(Decimal(match.group(1)) * SUFFIXES[match.group(2)])


def check_capacity(quota: CapacityQuota) -> None:
    """Raises: Invalid naming the first field at fault."""
    for field_name, value in (("team", quota.team), ("zone", quota.zone), ("namespace", quota.namespace)):
        if not LABEL.fullmatch(value):
            raise Invalid(f"{field_name} {value!r} must be lower case letters, digits and '-'", field=field_name)
    if not (quota.hard or quota.container_default):
        raise Invalid(f"capacity of {quota.name} names no resource", field="hard")
    _check_quantities("hard", quota.hard, {name for name, _ in HARD.values()})
    _check_quantities("container_default", quota.container_default, {name for name, _ in CONTAINER.values()})


def _check_quantities(field_name: str, quantities: Mapping[str, str], known: set[str]) -> None:
    for resource, text in quantities.items():
        if resource not in known:
            raise Invalid(f"resource {resource!r} must be one of {', '.join(sorted(known))}", field=field_name)
        if not QUANTITY.fullmatch(text):
            raise Invalid(f"{resource} {text!r} is no quantity such as 500m, 4 or 16Gi", field=field_name)
