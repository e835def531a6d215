"""Capacity in a Kubernetes cluster: applied by server-side apply, read back with what is used and what there is."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import urllib3
from kubernetes import client, config, dynamic
from kubernetes.client.exceptions import ApiException
from kubernetes.dynamic.exceptions import DynamicApiError

from chassis.errors import Invalid, Unavailable
from services.quota.domain.capacity import CapacityQuota, amount
from services.quota.domain.cluster import Held
from services.quota.outbound.kubernetes_manifests import FIELD_MANAGER, MANAGED_BY, held_of, manifests

IN_CLUSTER = "in-cluster"
ZONE_LABEL = "topology.kubernetes.io/zone"
TIMEOUT_S = 5.0
KINDS = ("ResourceQuota", "LimitRange")


class KubernetesCapacity:
    """CapacityCluster: the cluster of a kubeconfig, or the one this process is a pod of ("in-cluster").

    Connects with the first call, so a cluster that is away delays no start.
    """

    target = "cluster"

    def __init__(self, kubeconfig: str, context: str | None = None) -> None:
        self._kubeconfig, self._context = kubeconfig, context
        self._client: Any = None

    def held(self) -> Sequence[Held]:
        """See CapacityCluster."""
        with _translated("quotas"):
            selector = f"{MANAGED_BY}={FIELD_MANAGER}"
            found = [self._resource(kind).get(label_selector=selector, _request_timeout=TIMEOUT_S) for kind in KINDS]
            return held_of(item for each in found for item in each.to_dict()["items"])

    def apply(self, quota: CapacityQuota, *, is_dry_run: bool) -> None:
        """See CapacityCluster."""
        wanted = {each["kind"]: each for each in manifests(quota)}
        for kind in KINDS:
            with _translated(f"{kind} {quota.namespace}/{quota.name}"):
                if kind in wanted:
                    self._apply(wanted[kind], is_dry_run)
                else:
                    self._delete(kind, quota.namespace, quota.name, is_dry_run)

    def remove(self, held: Held) -> None:
        """See CapacityCluster."""
        for kind in KINDS:
            with _translated(f"{kind} {held.namespace}/{held.name}"):
                self._delete(kind, held.namespace, held.name, False)

    def allocatable(self) -> Mapping[str, Mapping[str, float]]:
        """See CapacityCluster. Nodes that take no pods do not count."""
        with _translated("nodes"):
            nodes = self._resource("Node").get(_request_timeout=TIMEOUT_S).to_dict()["items"]
        zones: dict[str, dict[str, float]] = {}
        for node in nodes:
            if (node.get("spec") or {}).get("unschedulable"):
                continue
            amounts = zones.setdefault((node["metadata"].get("labels") or {}).get(ZONE_LABEL, ""), {})
            for name, text in (node["status"].get("allocatable") or {}).items():
                amounts[name] = amounts.get(name, 0.0) + amount(str(text))
        return zones

    def _apply(self, manifest: Mapping[str, Any], is_dry_run: bool) -> None:
        options = {"dry_run": "All"} if is_dry_run else {}
        self._resource(manifest["kind"]).server_side_apply(
            body=dict(manifest),
            field_manager=FIELD_MANAGER,
            force_conflicts=True,  # the ledger is the truth; who changed it by hand sees it in the audit
            _request_timeout=TIMEOUT_S,
            **options,
        )

    def _delete(self, kind: str, namespace: str, name: str, is_dry_run: bool) -> None:
        options = {"dry_run": "All"} if is_dry_run else {}
        try:
            self._resource(kind).delete(name=name, namespace=namespace, _request_timeout=TIMEOUT_S, **options)
        except DynamicApiError as error:
            if error.status != 404:
                raise

    def _resource(self, kind: str) -> Any:
        if self._client is None:
            self._client = _connect(self._kubeconfig, self._context)
        return self._client.resources.get(api_version="v1", kind=kind)


def _connect(kubeconfig: str, context: str | None) -> Any:
    # The package has stubs for a part of itself only, hence the Any.
    load: Any = config
    open_dynamic: Any = dynamic.DynamicClient
    try:
        if kubeconfig == IN_CLUSTER:
            load.load_incluster_config()
            return open_dynamic(client.ApiClient())
        return open_dynamic(load.new_client_from_config(config_file=kubeconfig, context=context))
    except (config.ConfigException, OSError) as error:
        raise Invalid(f"kubeconfig {kubeconfig} is not usable: {error}", field="kubeconfig") from error


@contextmanager
def _translated(what: str) -> Iterator[None]:
    try:
        yield
    except (ApiException, DynamicApiError, urllib3.exceptions.HTTPError) as error:
        raise Unavailable(f"{what}: the cluster says {_reason(error)}", reason="cluster") from error


def _reason(error: Exception) -> str:
    body = getattr(error, "body", None)
    text = body.decode(errors="replace") if isinstance(body, bytes) else body
    return str(text or error)[:500]
