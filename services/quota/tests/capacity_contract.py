"""What every CapacityCluster does, be it a folder of manifests or a cluster."""

from dataclasses import replace

import pytest

from services.quota.domain.capacity import CapacityQuota
from services.quota.domain.cluster import Held, differences
from services.quota.ports import CapacityCluster


def quota(namespace: str, **fields: object) -> CapacityQuota:
    hard = {"requests.cpu": "500m", "requests.memory": "1Gi", "pods": "9"}
    return replace(
        CapacityQuota("feed", "az-a", namespace, hard, {"memory": "64Mi"}, "capacity/pods/az-a/feed:1"),
        **fields,  # type: ignore[arg-type]
    )


def find(cluster: CapacityCluster, wanted: CapacityQuota) -> Held | None:
    return next(
        (each for each in cluster.held() if (each.namespace, each.name) == (wanted.namespace, wanted.name)), None
    )


def check_contract(cluster: CapacityCluster, namespace: str) -> None:
    """Apply, read, change, drop a part, take away; everything twice does no harm."""
    first = quota(namespace)
    cluster.apply(first, is_dry_run=True)
    assert find(cluster, first) is None, "a dry run changes nothing"
    for _ in range(2):
        cluster.apply(first, is_dry_run=False)
    held = find(cluster, first)
    assert held is not None
    assert held.hard == {"requests.cpu": pytest.approx(0.5), "requests.memory": 2.0**30, "pods": 9.0}
    assert held.container_default == {"memory": 64.0 * 2**20}
    assert held.source == first.source
    assert differences(first, held) == {}

    second = quota(namespace, hard={"pods": "7"}, container_default={}, source="capacity/pods/az-a/feed:2")
    cluster.apply(second, is_dry_run=True)
    assert differences(first, find(cluster, first)) == {}
    cluster.apply(second, is_dry_run=False)
    changed = find(cluster, second)
    assert changed is not None
    assert (dict(changed.hard), dict(changed.container_default), changed.source) == ({"pods": 7.0}, {}, second.source)

    for _ in range(2):
        cluster.remove(changed)
    assert find(cluster, second) is None
