"""One cluster for all of these tests, given by a variable; without it they are skipped and say so."""

import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from kubernetes import client, config

VARIABLE = "CORKBOARD_KUBECONFIG"


@dataclass(frozen=True)
class Cluster:
    """The API of a cluster, and names that no other run uses."""

    kubeconfig: str
    core: Any
    team: str
    zones: tuple[str, ...]

    def namespace(self, zone: str) -> str:
        """Of the team in a zone, as the dispatcher names it."""
        return f"{self.team}-{zone}"


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Namespaces of a team of its own, one per zone, removed at the end."""
    kubeconfig = os.environ.get(VARIABLE, "")
    if not kubeconfig:
        pytest.skip(f"no cluster: {VARIABLE} names no kubeconfig")
    load: Any = config.new_client_from_config
    core = client.CoreV1Api(load(config_file=kubeconfig))
    nodes: list[Any] = core.list_node(_request_timeout=10).items
    zones = {node.metadata.labels.get("topology.kubernetes.io/zone", "") for node in nodes} - {""}
    assert zones, "the nodes of this cluster have no zone labels"
    found = Cluster(kubeconfig, core, f"quota-test-{secrets.token_hex(3)}", tuple(sorted(zones)))
    for zone in found.zones:
        meta = client.V1ObjectMeta(name=found.namespace(zone))
        core.create_namespace(client.V1Namespace(metadata=meta), _request_timeout=10)
    try:
        yield found
    finally:
        for zone in found.zones:
            core.delete_namespace(found.namespace(zone), _request_timeout=10)
