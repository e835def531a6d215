"""Capacity of a team in a zone: what its pods may ask of the cluster in all, and each container by default."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from chassis.errors import Invalid

LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
QUANTITY = re.compile(r"\d+(\.\d+)?(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?")
RESOURCES = frozenset(
    {
        "requests.cpu",
        "limits.cpu",
        "requests.memory",
        "limits.memory",
        "requests.storage",
        "pods",
        "persistentvolumeclaims",
        "requests.nvidia.com/gpu",
    }
)
CONTAINER_RESOURCES = frozenset({"cpu", "memory"})


@dataclass(frozen=True)
class CapacityQuota:
    """`hard` and `container_default` are Kubernetes quantities by resource, such as {"requests.cpu": "40"}."""

    team: str
    zone: str
    namespace: str
    hard: Mapping[str, str]
    container_default: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Name of the objects in the cluster."""
        return f"corkboard-{self.team}-{self.zone}"


def check_capacity(quota: CapacityQuota) -> None:
    """Raises: Invalid naming the first field at fault."""
    for field_name, value in (("team", quota.team), ("zone", quota.zone), ("namespace", quota.namespace)):
        if not LABEL.fullmatch(value):
            raise Invalid(f"{field_name} {value!r} must be lower case letters, digits and '-'", field=field_name)
    if not quota.hard:
        raise Invalid(f"capacity of {quota.name} names no resource", field="hard")
    _check_quantities("hard", quota.hard, RESOURCES)
    _check_quantities("container_default", quota.container_default, CONTAINER_RESOURCES)


def _check_quantities(field_name: str, quantities: Mapping[str, str], known: frozenset[str]) -> None:
    for resource, quantity in quantities.items():
        if resource not in known:
            raise Invalid(f"resource {resource!r} must be one of {', '.join(sorted(known))}", field=field_name)
        if not QUANTITY.fullmatch(quantity):
            raise Invalid(f"{resource} {quantity!r} is no quantity such as 500m, 4 or 16Gi", field=field_name)
