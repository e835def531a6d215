"""A running house under load: one service deployed alone and rolled back, builds mixed, a node emptied."""

import asyncio
import os
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from kubernetes import client

from e2e.cluster.access import API_S, wait_until
from e2e.cluster.conftest import OTHER_TAG
from e2e.cluster.installation import Installation
from e2e.cluster.load import Heard, press, readable

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

SECONDS = 15.0
SERVERS = ("kafka", "valkey", "tools")  # of charts/dev-servers: what they hold goes with their pods
BACK_WITHIN_S = 240.0


def run_name(what: str) -> str:
    return f"{what}-{uuid.uuid4().hex[:6]}"


def image_of(installation: Installation, service: str, zone: str) -> str:
    (pod,) = installation.pods(service, zone)
    return str(pod.spec.containers[0].image)


async def under_load(
    installation: Installation, what: str, change: Callable[[], Awaitable[None]], zones: tuple[str, ...] = ()
) -> dict[str, Heard]:
    """Load in `zones` (all) while `change` goes on; every event that was acknowledged is readable afterwards."""
    heard = await press(installation, zones or installation.zones, run_name(what), SECONDS, change)
    for zone in zones or installation.zones:
        await readable(installation.surface(zone), heard)
    return heard


@pytest.mark.parametrize("service", ["blender", "ranker-leaf", "ingest", "indexer"])
async def test_a_service_is_deployed_and_rolled_back_alone_without_an_error(
    installation: Installation, service: str, record: Callable[[str, object], None]
) -> None:
    zone = installation.zones[-1]
    others = {pod.metadata.name for pod in installation.pods(zone=zone)} - {
        pod.metadata.name for pod in installation.pods(service, zone)
    }

    async def deploy_and_roll_back() -> None:
        release = f"{service}-{zone}"
        note = f"podAnnotations.corkboard\\.dev/deployed={uuid.uuid4().hex[:8]}"
        await asyncio.to_thread(installation.helm.upgrade, release, service, note)
        await asyncio.to_thread(installation.helm.rollback, release)

    heard = await under_load(installation, f"deploy-{service}", deploy_and_roll_back)
    for one in heard.values():
        record(f"{service} deployed, zone {one.zone}", one.summary())
    assert {zone: one.errors for zone, one in heard.items() if one.errors} == {}
    assert others <= {pod.metadata.name for pod in installation.pods(zone=zone)}, "other services were restarted, too"


async def test_an_older_build_runs_beside_a_newer_one(
    installation: Installation, record: Callable[[str, object], None]
) -> None:
    other = os.environ.get(OTHER_TAG, "")
    if not other:
        pytest.skip(f"one build only: {OTHER_TAG} names no tag of older images")
    zone, services = installation.zones[-1], ("blender", "ranker-leaf", "indexer", "enrich")

    async def mix() -> None:
        for service in services:
            release = f"{service}-{zone}"
            await asyncio.to_thread(installation.helm.upgrade, release, service, f"image.tag={other}")
            assert image_of(installation, service, zone).endswith(f":{other}")
        await asyncio.sleep(SECONDS)

    try:
        heard = await under_load(installation, "mixed", mix)
    finally:
        for service in services:
            installation.helm.upgrade(f"{service}-{zone}", service, "image.tag=")
    for one in heard.values():
        record(f"mixed versions, zone {one.zone}", one.summary())
    assert {zone: one.errors for zone, one in heard.items() if one.errors} == {}


async def test_a_drained_node_costs_the_other_zones_nothing(
    installation: Installation, record: Callable[[str, object], None]
) -> None:
    zone, rest = installation.zones[-1], installation.zones[:-1]
    nodes = installation.core.list_node(label_selector=f"topology.kubernetes.io/zone={zone}", _request_timeout=API_S)
    names = [node.metadata.name for node in nodes.items]

    async def drain() -> None:
        for name in names:
            cordon(installation, name, is_closed=True)
        pods = [pod for pod in installation.pods(zone=zone) if pod.spec.node_name in names]
        for pod in pods:
            if pod.metadata.labels.get("app.kubernetes.io/name") not in SERVERS:
                await asyncio.to_thread(evict, installation, pod)
        await asyncio.sleep(SECONDS)

    try:
        heard = await under_load(installation, "drain", drain, rest)
    finally:
        for name in names:
            cordon(installation, name, is_closed=False)
    back_s = await asyncio.to_thread(installation.wait_ready, BACK_WITHIN_S)
    record("drained zone was back after s", round(back_s, 1))
    for one in heard.values():
        record(f"drain of {zone}, zone {one.zone}", one.summary())
    assert {zone: one.errors for zone, one in heard.items() if one.errors} == {}


def cordon(installation: Installation, node: str, *, is_closed: bool) -> None:
    installation.core.patch_node(node, {"spec": {"unschedulable": is_closed}}, _request_timeout=API_S)


def evict(installation: Installation, pod: Any) -> None:
    """As `kubectl drain` does: a disruption budget may say "later"."""
    name = pod.metadata.name
    body = client.V1Eviction(metadata=client.V1ObjectMeta(name=name, namespace=installation.namespace))

    def is_accepted() -> bool:
        installation.core.create_namespaced_pod_eviction(name, installation.namespace, body, _request_timeout=API_S)
        return True

    wait_until(is_accepted, 60.0, f"eviction of {name}")
