"""Capacity as ResourceQuota and LimitRange objects, and a folder of them where there is no cluster."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from kubernetes import client

from chassis.errors import Unavailable
from services.quota.domain.capacity import CapacityQuota, amount
from services.quota.domain.cluster import Held

FIELD_MANAGER = "corkboard-quota"
MANAGED_BY = "app.kubernetes.io/managed-by"
SOURCE = "corkboard/rules"  # annotation: the rules and versions that an object was made of

Manifest = dict[str, Any]


def manifests(quota: CapacityQuota) -> list[Manifest]:
    """The objects of `quota` as the API server takes them, made of the client's own models."""
    meta = client.V1ObjectMeta(
        name=quota.name,
        namespace=quota.namespace,
        labels={MANAGED_BY: FIELD_MANAGER, "corkboard/team": quota.team, "corkboard/zone": quota.zone},
        annotations={SOURCE: quota.source} if quota.source else None,
    )
    objects: list[Any] = []
    if quota.hard:
        spec: Any = client.V1ResourceQuotaSpec(hard=dict(quota.hard))
        objects.append(client.V1ResourceQuota(api_version="v1", kind="ResourceQuota", metadata=meta, spec=spec))
    if quota.container_default:
        default = dict(quota.container_default)
        item = client.V1LimitRangeItem(type="Container", default=default, default_request=default)
        spec = client.V1LimitRangeSpec(limits=[item])
        objects.append(client.V1LimitRange(api_version="v1", kind="LimitRange", metadata=meta, spec=spec))
    with client.ApiClient() as api:
        return [api.sanitize_for_serialization(each) for each in objects]


def held_of(objects: Iterable[Mapping[str, Any]]) -> list[Held]:
    """Objects of ours as quotas, by namespace and name."""
    grouped: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for each in objects:
        grouped.setdefault((each["metadata"]["namespace"], each["metadata"]["name"]), []).append(each)
    return [_held(namespace, name, members) for (namespace, name), members in sorted(grouped.items())]


def _held(namespace: str, name: str, members: Sequence[Mapping[str, Any]]) -> Held:
    hard: dict[str, float] = {}
    default: dict[str, float] = {}
    used: dict[str, float] = {}
    sources = {(each["metadata"].get("annotations") or {}).get(SOURCE, "") for each in members}
    for each in members:
        spec, status = each.get("spec") or {}, each.get("status") or {}
        hard |= _amounts(spec.get("hard"))
        used |= _amounts(status.get("used"))
        for item in spec.get("limits") or ():
            default |= _amounts(item.get("default"))
    return Held(namespace, name, hard, default, used, sources.pop() if len(sources) == 1 else "")


def _amounts(quantities: Mapping[str, str] | None) -> dict[str, float]:
    return {name: amount(str(text)) for name, text in (quantities or {}).items()}


class ManifestFolder:
    """CapacityCluster: one JSON file per object, for whoever applies them (kubectl reads JSON and YAML alike)."""

    target = "manifests"

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def held(self) -> Sequence[Held]:
        """See CapacityCluster."""
        try:
            return held_of(json.loads(path.read_text()) for path in sorted(self._folder.glob("*.json")))
        except (OSError, ValueError, KeyError) as error:
            raise Unavailable(f"manifests of {self._folder} cannot be read: {error!r}") from error

    def apply(self, quota: CapacityQuota, *, is_dry_run: bool) -> None:
        """See CapacityCluster."""
        objects = {f"{each['kind'].lower()}": each for each in manifests(quota)}
        if is_dry_run:
            return
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            for kind in ("resourcequota", "limitrange"):
                path = self._path(quota.namespace, quota.name, kind)
                if kind in objects:
                    path.write_text(json.dumps(objects[kind], indent=2, sort_keys=True) + "\n")
                else:
                    path.unlink(missing_ok=True)
        except OSError as error:
            raise Unavailable(f"manifests of {self._folder} cannot be written: {error}") from error

    def remove(self, held: Held) -> None:
        """See CapacityCluster."""
        for kind in ("resourcequota", "limitrange"):
            self._path(held.namespace, held.name, kind).unlink(missing_ok=True)

    def allocatable(self) -> Mapping[str, Mapping[str, float]]:
        """Nothing is known."""
        return {}

    def _path(self, namespace: str, name: str, kind: str) -> Path:
        return self._folder / f"{namespace}-{name}-{kind}.json"
