"""Capacity as ResourceQuota and LimitRange objects: written as manifests, or applied to a cluster."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import urllib3
from kubernetes import client, config, dynamic
from kubernetes.client.exceptions import ApiException

from chassis.errors import Invalid, Unavailable
from services.quota.domain.capacity import CapacityQuota

FIELD_MANAGER = "corkboard-quota"
LABELS = {"app.kubernetes.io/managed-by": FIELD_MANAGER}

Manifest = dict[str, Any]


def manifests(quota: CapacityQuota) -> list[Manifest]:
    """The objects of `quota` as the API server takes them, made of the client's own models."""
    meta = client.V1ObjectMeta(
        name=quota.name,
        namespace=quota.namespace,
        labels=LABELS | {"corkboard/team": quota.team, "corkboard/zone": quota.zone},
    )
    objects: list[Any] = [
        client.V1ResourceQuota(
            api_version="v1",
            kind="ResourceQuota",
            metadata=meta,
            spec=client.V1ResourceQuotaSpec(hard=dict(quota.hard)),
        )
    ]
    if quota.container_default:
        default = dict(quota.container_default)
        item = client.V1LimitRangeItem(type="Container", default=default, default_request=default)
        spec = client.V1LimitRangeSpec(limits=[item])
        objects.append(client.V1LimitRange(api_version="v1", kind="LimitRange", metadata=meta, spec=spec))
    with client.ApiClient() as api:
        return [api.sanitize_for_serialization(each) for each in objects]


def write_manifests(quotas: Iterable[CapacityQuota], folder: Path) -> list[Path]:
    """One JSON file per object (kubectl reads JSON and YAML alike); the paths, in order."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for quota in quotas:
        for manifest in manifests(quota):
            path = folder / f"{quota.namespace}-{quota.name}-{manifest['kind'].lower()}.json"
            path.write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n")
            written.append(path)
    return written


class KubernetesCapacity:
    """Applies to the cluster of a kubeconfig by server-side apply, always as a dry run first."""

    def __init__(self, kubeconfig: str, context: str | None = None) -> None:
        # The package has stubs for a part of itself only, hence the Any.
        connect: Any = config.new_client_from_config
        open_dynamic: Any = dynamic.DynamicClient
        try:
            self._client = open_dynamic(connect(config_file=kubeconfig, context=context))
        except config.ConfigException as error:
            raise Invalid(f"kubeconfig {kubeconfig} is not usable: {error}", field="kubeconfig") from error
        except (ApiException, urllib3.exceptions.HTTPError) as error:
            raise Unavailable(f"cluster of {kubeconfig} does not answer: {error}") from error

    def drift(self, manifest: Mapping[str, Any]) -> Mapping[str, tuple[object, object]]:
        """(wanted, found) of each part of the spec that the cluster has otherwise; everything when it is not there."""
        found = self._find(manifest)
        wanted: Mapping[str, object] = manifest["spec"]
        return {key: (value, found.get(key)) for key, value in wanted.items() if found.get(key) != value}

    def apply(self, manifest: Mapping[str, Any], *, is_dry_run: bool) -> None:
        """Make the cluster hold `manifest`. Raises: Unavailable with what the API server said."""
        options = {"dry_run": "All"} if is_dry_run else {}
        try:
            self._resource(manifest).server_side_apply(
                body=dict(manifest),
                name=manifest["metadata"]["name"],
                namespace=manifest["metadata"]["namespace"],
                field_manager=FIELD_MANAGER,
                force_conflicts=True,
                **options,
            )
        except (ApiException, urllib3.exceptions.HTTPError) as error:
            raise Unavailable(f"{manifest['kind']} {manifest['metadata']['name']} not applied: {error}") from error

    def _find(self, manifest: Mapping[str, Any]) -> Mapping[str, object]:
        meta = manifest["metadata"]
        try:
            found = self._resource(manifest).get(name=meta["name"], namespace=meta["namespace"]).to_dict()
        except ApiException as error:
            if error.status == 404:
                return {}
            raise Unavailable(f"{manifest['kind']} {meta['name']} not read: {error}") from error
        spec: Mapping[str, object] = found.get("spec", {})
        return spec

    def _resource(self, manifest: Mapping[str, Any]) -> Any:
        return self._client.resources.get(api_version=manifest["apiVersion"], kind=manifest["kind"])
