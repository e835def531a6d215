"""Lag adds pods and its end removes none at once; where KEDA is installed."""

import asyncio
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from kubernetes import client

from e2e.cluster.access import API_S, wait_until
from e2e.cluster.conftest import Cluster
from e2e.cluster.installation import Installation
from e2e.cluster.load import press, readable

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

KEDA = "scaledobjects.keda.sh"
LAG_PER_POD, MOST_PODS = 3, 3  # records, and a record is what one publication brought
PUBLICATIONS = ("--rate", "60", "--duration", "60", "--mix", "events=1", "--json")
SECONDS = 60.0
ADDED_WITHIN_S = 240.0


async def test_lag_adds_indexers_and_nothing_is_lost(
    reached: Cluster, installation: Installation, record: Callable[[str, object], None]
) -> None:
    extensions: Any = client.ApiextensionsV1Api(reached.api)
    known = extensions.list_custom_resource_definition(_request_timeout=API_S).items
    if KEDA not in {each.metadata.name for each in known}:
        pytest.skip(f"nothing scales by lag here: the cluster has no {KEDA} (https://keda.sh)")
    zone = installation.zones[-1]
    release, run = f"indexer-{zone}", f"lag-{uuid.uuid4().hex[:6]}"
    most: list[int] = []

    async def burst() -> None:
        """More publications than the one pod, with a tenth of a core, takes in."""
        start_s = asyncio.get_running_loop().time()
        publishing = asyncio.create_task(asyncio.to_thread(installation.tool, "load", *PUBLICATIONS, zone=zone))
        while asyncio.get_running_loop().time() - start_s < ADDED_WITHIN_S and max(most, default=1) < 2:
            most.append(len(await asyncio.to_thread(installation.pods, "indexer", zone)))
            await asyncio.sleep(1.0)
        record("scaled by lag", {"pods": max(most), "added_s": round(asyncio.get_running_loop().time() - start_s, 1)})
        await publishing

    scaling = {"enabled": "true", "minReplicas": "1", "maxReplicas": str(MOST_PODS), "lag.records": str(LAG_PER_POD)}
    settings = [f"autoscaling.{name}={value}" for name, value in scaling.items()]
    installation.helm.set(release, "indexer", *settings, "resources.limits.cpu=100m")
    try:
        heard = await press(installation, (zone,), run, SECONDS, burst)
        assert max(most) > 1, f"{ADDED_WITHIN_S:.0f} s of lag added no pod"
        assert {each: one.errors for each, one in heard.items() if one.errors} == {}
        wait_until(lambda: not installation.unready(), ADDED_WITHIN_S, "the added pods are not ready")
        await readable(installation.surface(zone), heard, within_s=ADDED_WITHIN_S)
    finally:
        installation.helm.rollback(release)
