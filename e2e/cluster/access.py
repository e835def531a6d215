"""How a surface outside of the cluster reaches its zone: a NodePort on a node there, mTLS with its own certificate."""

import base64
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from kubernetes import client

from chassis.grpc.options import channel_options
from chassis.tls import read_certificates
from corkboard.local.certificates import paths_of
from corkboard.local.ports import Ports
from corkboard.session import Endpoints, Session
from protos.callers import OUTSIDE

OPENED = {"blender": "blender", "ingest": "ingest", "indexer": "indexer"}  # service of the command line -> chart
API_S = 10
PART_OF = {"app.kubernetes.io/part-of": "corkboard"}


def open_ports(core: Any, namespace: str, zones: tuple[str, ...]) -> dict[tuple[str, str], str]:
    """A NodePort for each service and zone; returns `host:port` by (service, zone)."""
    nodes = {zone: node_address(core, zone) for zone in zones}
    return {
        (service, zone): f"{nodes[zone]}:{_node_port(core, namespace, chart, zone, Ports().grpc(service))}"
        for service, chart in OPENED.items()
        for zone in zones
    }


def is_open(address: str) -> bool:
    """Whether host:port takes a connection."""
    host, port = address.rsplit(":", 1)
    try:
        socket.create_connection((host, int(port)), timeout=API_S).close()
    except OSError:
        return False
    return True


def node_address(core: Any, zone: str) -> str:
    """Of one node of the zone, from outside of the cluster."""
    nodes = core.list_node(label_selector=f"topology.kubernetes.io/zone={zone}", _request_timeout=API_S).items
    return str(next(each.address for node in nodes for each in node.status.addresses if each.type == "InternalIP"))


def _node_port(core: Any, namespace: str, chart: str, zone: str, port: int) -> int:
    name = f"{chart}-{zone}-outside"
    body = client.V1Service(
        metadata=client.V1ObjectMeta(name=name, labels=PART_OF),
        spec=client.V1ServiceSpec(
            type="NodePort",
            selector={"app.kubernetes.io/name": chart, "corkboard.dev/zone": zone},
            ports=[client.V1ServicePort(port=port, target_port="grpc")],
        ),
    )
    try:
        made = core.create_namespaced_service(namespace, body, _request_timeout=API_S)
    except client.ApiException as error:
        if error.status != 409:
            raise
        made = core.read_namespaced_service(name, namespace, _request_timeout=API_S)
    return int(made.spec.ports[0].node_port)


def fetch_certificates(core: Any, namespace: str, folder: Path) -> Path:
    """Those of the callers from outside, from their Secrets, as the command line wants them."""
    for who in OUTSIDE:
        secret = core.read_namespaced_secret(f"{who}-tls", namespace, _request_timeout=API_S)
        (folder / who).mkdir(parents=True, exist_ok=True)
        for name, content in secret.data.items():
            (folder / who / name).write_bytes(base64.b64decode(content))
    return folder


@dataclass(frozen=True)
class Opened(Endpoints):
    """The services of one zone through its NodePorts."""

    zone: str = ""
    addresses: Mapping[tuple[str, str], str] | None = None

    def address(self, service: str) -> str:
        return (self.addresses or {})[service, self.zone]


class Surface(Session):
    """A caller outside of the cluster; as the services' own clients do, it sends an UNAVAILABLE call once more."""

    def __init__(self, addresses: Mapping[tuple[str, str], str], zone: str, certificates: Path) -> None:
        super().__init__(Opened(Ports(), certificates=certificates, zone=zone, addresses=addresses))
        self.zone = zone
        self._names = {addresses[service, zone]: f"{chart}-{zone}" for service, chart in OPENED.items()}

    def _open(self, address: str, who: str, options: list[tuple[str, int | str]]) -> grpc.aio.Channel:  # noqa: ARG002
        certificates = self.endpoints.certificates
        assert certificates is not None
        found = read_certificates(paths_of(certificates, who))
        credentials = grpc.ssl_channel_credentials(found.authorities_pem, found.key_pem, found.chain_pem)
        name = ("grpc.ssl_target_name_override", self._names[address])
        return grpc.aio.secure_channel(address, credentials, [*channel_options(has_retries=True), name])


def wait_until(check: Any, within_s: float, what: str, every_s: float = 1.0) -> float:
    """Seconds until `check` held; an error of the API counts as "not yet". Raises: AssertionError."""
    start_s = time.monotonic()
    while time.monotonic() - start_s < within_s:
        try:
            if check():
                return time.monotonic() - start_s
        except (client.ApiException, OSError):
            pass
        time.sleep(every_s)
    raise AssertionError(f"{what}: not within {within_s:.0f} s")
