"""What a cluster has, beside what rules want of it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from services.quota.domain.capacity import CapacityKey, CapacityQuota, amount

SAME = 1e-6  # relative; a cluster may write a quantity in another way
# What a node can give, for each resource that is limited by it. Limits may be overcommitted, storage is elsewhere.
OF_NODES = {"requests.cpu": "cpu", "requests.memory": "memory", "pods": "pods", "gpu": "nvidia.com/gpu"}

Amounts = Mapping[str, float]  # by Kubernetes' name, in units


@dataclass(frozen=True)
class Held:
    """The objects of one quota as the cluster has them."""

    namespace: str
    name: str
    hard: Amounts = field(default_factory=dict)
    container_default: Amounts = field(default_factory=dict)
    used: Amounts = field(default_factory=dict)
    source: str = ""  # as in CapacityQuota; "" when nobody says


def differences(quota: CapacityQuota, held: Held | None) -> dict[str, tuple[float, float | None]]:
    """(wanted, found) of each resource that differs, and of those that the cluster limits though nobody wants it."""
    wanted = {name: amount(text) for name, text in quota.hard.items()}
    wanted |= {f"default {name}": amount(text) for name, text in quota.container_default.items()}
    found: dict[str, float] = dict(held.hard) if held else {}
    found |= {f"default {name}": value for name, value in held.container_default.items()} if held else {}
    different = {name: (value, found.get(name)) for name, value in wanted.items() if not _same(value, found.get(name))}
    return different | {name: (0.0, value) for name, value in found.items() if name not in wanted}


def allocatable_of(key: CapacityKey, zones: Mapping[str, Amounts]) -> float | None:
    """What the nodes of the key's zone (or of all) can give; None when nodes say nothing about that resource."""
    name = OF_NODES.get(key.resource)
    if name is None:
        return None
    chosen: Sequence[Amounts] = [zones.get(key.zone, {})] if key.zone else list(zones.values())
    return sum(amounts.get(name, 0.0) for amounts in chosen)


def total(keys: Iterable[tuple[CapacityKey, float]], resource: str, zone: str) -> float:
    """The sum of what teams may use of a resource in a zone; an empty zone = all."""
    return sum(limit for key, limit in keys if key.team and key.resource == resource and zone in ("", key.zone))


def _same(one: float, other: float | None) -> bool:
    return other is not None and abs(one - other) <= SAME * max(abs(one), abs(other))
