"""Capacity rules on a real cluster: applied, enforced by it, read back, drifted, corrected, revoked."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import aio
from kubernetes import client

from chassis.grpc.server import GrpcDoor
from chassis.testing import InMemoryBus
from e2e.cluster.conftest import Cluster
from protos.quota.v1 import quota_pb2 as pb
from protos.quota.v1 import quota_pb2_grpc as rpc
from services.quota.config import Config
from services.quota.outbound.kubernetes_capacity import KubernetesCapacity
from services.quota.tests.capacity_contract import check_contract
from services.quota.wiring import build

WITHIN_S = 30.0
MIB = 2.0**20


class Quota:
    """A quota service over the cluster."""

    def __init__(self, channel: aio.Channel) -> None:
        self.rules: Any = rpc.QuotaServiceStub(channel)
        self.capacity: Any = rpc.CapacityServiceStub(channel)

    async def validate(self, key: str, limit: float, unit: str, seen: int = 0) -> list[pb.Violation]:
        rule = pb.Rule(
            key=f"capacity/{key}", limit=limit, unit=unit, period_s=1.0, owner="ann", kind="capacity", tier=3
        )
        await self.rules.CreateRule(pb.CreateRuleRequest(rule=rule, expected_version=seen, actor="ann"))
        ref = pb.RuleRef(key=rule.key, actor="ann")
        return list((await self.rules.ValidateRule(ref, timeout=10)).violations)

    async def publish(self, key: str, limit: float, unit: str, seen: int = 0) -> None:
        assert await self.validate(key, limit, unit, seen) == []
        ref = pb.RuleRef(key=f"capacity/{key}", actor="root")
        await self.rules.ApproveRule(pb.ApproveRuleRequest(ref=ref))
        await self.rules.PublishRule(ref, timeout=10)

    async def lines(self, team: str, zone: str) -> dict[str, pb.CapacityLine]:
        report = await self.capacity.DescribeCapacity(pb.DescribeCapacityRequest(team=team, zone=zone), timeout=10)
        return {line.resource: line for line in report.lines}


@pytest.fixture
async def quota(cluster: Cluster, tmp_path: Path) -> AsyncIterator[Quota]:
    settings = {
        "ledger_path": str(tmp_path / "quota.sqlite"),
        "state_dir": str(tmp_path),
        "kubeconfig": cluster.kubeconfig,
    }
    config = Config(grpc_port=0, admin_port=0, drain_s=0.2, admins="root", capacity_interval_s=1.0, **settings)
    service = build(config, bus=InMemoryBus())
    async with service:
        (door,) = (part for part in service._doors if isinstance(part, GrpcDoor))  # noqa: SLF001 - port 0
        async with aio.insecure_channel(door.address) as channel:
            yield Quota(channel)


async def eventually(check: Callable[[], Any]) -> Any:
    """What `check` (blocking or not) returns, once it is something."""
    give_up_s = time.monotonic() + WITHIN_S
    while True:
        found = check()
        found = await found if asyncio.iscoroutine(found) else found
        if found:
            return found
        assert time.monotonic() < give_up_s, "not within 30 s"
        await asyncio.sleep(0.5)


def pod(name: str, cpu: str = "", memory: str = "") -> client.V1Pod:
    """One that is never run: being admitted is all that a quota counts."""
    requests = {"cpu": cpu, "memory": memory} if cpu else None
    resources = client.V1ResourceRequirements(requests=requests, limits=requests)
    container = client.V1Container(
        name="idle", image="nothing:none", image_pull_policy="Never", resources=resources if cpu else None
    )
    return client.V1Pod(metadata=client.V1ObjectMeta(name=name), spec=client.V1PodSpec(containers=[container]))


def held(cluster: Cluster, zone: str) -> Any:
    """The ResourceQuota of the team in a zone, None when there is none."""
    found = cluster.core.list_namespaced_resource_quota(cluster.namespace(zone), _request_timeout=10).items
    return found[0] if found else None


def test_cluster_keeps_the_contract_of_a_capacity_target(cluster: Cluster) -> None:
    check_contract(KubernetesCapacity(cluster.kubeconfig), cluster.namespace(cluster.zones[-1]))


async def test_capacity_is_enforced_used_drifts_and_goes_with_its_rules(cluster: Cluster, quota: Quota) -> None:
    team, zone = cluster.team, cluster.zones[0]
    namespace = cluster.namespace(zone)
    await quota.publish(f"requests.cpu/{zone}/{team}", 0.5, "cores")
    await quota.publish(f"requests.memory/{zone}/{team}", 256 * MIB, "bytes")
    await quota.publish(f"pods/{zone}/{team}", 3.0, "pods")
    await quota.publish(f"container.cpu/{zone}/{team}", 0.1, "cores")
    await quota.publish(f"container.memory/{zone}/{team}", 32 * MIB, "bytes")

    def is_applied() -> bool:
        there = held(cluster, zone)
        return there is not None and (there.spec.hard or {}).get("pods") == "3" and len(there.spec.hard) == 3

    await eventually(is_applied)

    cluster.core.create_namespaced_pod(namespace, pod("small", "200m", "64Mi"), _request_timeout=10)
    without = cluster.core.create_namespaced_pod(namespace, pod("by-default"), _request_timeout=10)
    assert without.spec.containers[0].resources.limits == {"cpu": "100m", "memory": "32Mi"}, "the LimitRange"
    with pytest.raises(client.ApiException) as refused:
        cluster.core.create_namespaced_pod(namespace, pod("large", "300m", "64Mi"), _request_timeout=10)
    assert refused.value.status == 403
    assert "exceeded quota" in str(refused.value.body)

    async def is_used() -> bool:
        lines = await quota.lines(team, zone)
        return bool(abs(lines["requests.cpu"].used - 0.3) < 1e-6 and lines["pods"].used == 2.0)

    await eventually(is_used)

    name = held(cluster, zone).metadata.name
    cluster.core.patch_namespaced_resource_quota(
        name, namespace, {"spec": {"hard": {"pods": "99"}}}, _request_timeout=10
    )
    await asyncio.sleep(3.0)  # three rounds of the dispatcher
    line = (await quota.lines(team, zone))["pods"]
    assert (line.limit, line.found, line.is_drifted) == (3.0, 99.0, True)
    with pytest.raises(aio.AioRpcError) as denied:
        await quota.capacity.ApplyCapacity(pb.ApplyCapacityRequest(actor="ann"), timeout=10)
    assert denied.value.code() is grpc.StatusCode.PERMISSION_DENIED
    await quota.capacity.ApplyCapacity(pb.ApplyCapacityRequest(actor="root", is_dry_run=True), timeout=10)
    assert held(cluster, zone).spec.hard["pods"] == "99"
    await quota.capacity.ApplyCapacity(pb.ApplyCapacityRequest(actor="root"), timeout=10)
    assert held(cluster, zone).spec.hard["pods"] == "3"
    assert not (await quota.lines(team, zone))["pods"].is_drifted

    await quota.publish(f"requests.cpu/{zone}/{team}", 0.6, "cores", seen=1)
    await eventually(lambda: held(cluster, zone).spec.hard["requests.cpu"] == "600m")
    for resource in ("requests.cpu", "requests.memory", "pods", "container.cpu", "container.memory"):
        await quota.rules.RevokeRule(pb.RuleRef(key=f"capacity/{resource}/{zone}/{team}", actor="ann"), timeout=10)
    await eventually(lambda: held(cluster, zone) is None)
    left = cluster.core.list_namespaced_limit_range(namespace, _request_timeout=10).items
    assert left == []


async def test_rules_are_checked_against_what_the_nodes_have(cluster: Cluster, quota: Quota) -> None:
    team, zone = cluster.team, cluster.zones[0]
    (violation,) = await quota.validate(f"requests.cpu/{zone}/{team}", 100_000.0, "cores")
    assert f"zone {zone} can give" in violation.message
    (violation,) = await quota.validate(f"pods/no-such-zone/{team}", 1.0, "pods")
    assert all(each in violation.message for each in cluster.zones)
    free = (await quota.capacity.DescribeCapacity(pb.DescribeCapacityRequest(), timeout=10)).free
    assert dict(free) == {}, "nothing is in force, so nothing is counted"
    await quota.publish(f"pods/{zone}/{team}", 2.0, "pods")
    free = (await quota.capacity.DescribeCapacity(pb.DescribeCapacityRequest(), timeout=10)).free
    assert set(free) == {f"{each}/pods" for each in cluster.zones}
    assert free[f"{zone}/pods"] == pytest.approx(free[f"{cluster.zones[-1]}/pods"] - 2.0)
    await quota.rules.RevokeRule(pb.RuleRef(key=f"capacity/pods/{zone}/{team}", actor="ann"), timeout=10)
    await eventually(lambda: held(cluster, zone) is None)


async def test_namespace_that_does_not_exist_is_told_and_breaks_nothing_else(cluster: Cluster, quota: Quota) -> None:
    zone = cluster.zones[0]
    await quota.publish(f"pods/{zone}/nobody-{cluster.team}", 1.0, "pods")
    await asyncio.sleep(2.0)
    line = (await quota.lines(f"nobody-{cluster.team}", zone))["pods"]
    assert line.found < 0
    with pytest.raises(aio.AioRpcError, match="not found"):
        await quota.capacity.ApplyCapacity(pb.ApplyCapacityRequest(actor="root"), timeout=10)
