"""`corkboard zone shift`: a zone's doors close and open again, and surfaces elsewhere see nothing of it."""

import asyncio
import subprocess
import sys
import uuid
from collections.abc import Callable

import pytest

from e2e.cluster.conftest import Cluster
from e2e.cluster.installation import Installation
from e2e.cluster.load import press, readable

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

AWAY = "20s"


async def test_a_shifted_zone_is_away_and_back_without_an_error_elsewhere(
    reached: Cluster, installation: Installation, record: Callable[[str, object], None]
) -> None:
    zone = installation.zones[-2]
    rest = tuple(each for each in installation.zones if each != zone)
    away: list[bool] = []

    async def shift() -> None:
        options = ("--for", AWAY, "-n", installation.namespace, "--kubeconfig", reached.kubeconfig)
        command = [sys.executable, "-m", "corkboard", "zone", "shift", zone, *options]
        running = asyncio.create_task(asyncio.to_thread(subprocess.run, command, capture_output=True, check=True))
        while not running.done():
            await asyncio.sleep(1.0)
            pods = await asyncio.to_thread(installation.pods, zone=zone)
            apps = {pod.metadata.labels["app.kubernetes.io/name"] for pod in pods}
            away.append(not apps & {"blender", "ingest"} and {"cg", "indexer", "ranker-leaf"} <= apps)
        await running

    heard = await press(installation, rest, f"shift-{uuid.uuid4().hex[:6]}", 20.0, shift)
    for one in heard.values():
        record(f"{zone} shifted, zone {one.zone}", one.summary())
    assert {each: one.errors for each, one in heard.items() if one.errors} == {}
    assert any(away), f"the doors of {zone} never closed"
    assert installation.unready() == [] and len(installation.pods("blender", zone)) == 1
    for each in installation.zones:
        await readable(installation.surface(each), heard)
