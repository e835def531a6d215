"""Corkboard on the cluster: servers, certificates, bundles, a world, and every zone's services."""

import base64
import io
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kubernetes import client, stream

from e2e.cluster.access import API_S, Surface, fetch_certificates, is_open, open_ports, wait_until
from e2e.cluster.helm import Helm
from scripts.cluster_secrets import manifests

READY_WITHIN_S = 300.0
OPEN_WITHIN_S = 60.0  # nodes hear of a new port a moment after it was made
EXEC_S = 180
CHUNK = 1 << 16
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}


class Installation:
    """The namespace with everything in it."""

    def __init__(self, api: Any, helm: Helm, zones: tuple[str, ...], certificates: Path) -> None:
        self.core: Any = client.CoreV1Api(api)
        self.apps: Any = client.AppsV1Api(api)
        self.policy: Any = client.PolicyV1Api(api)
        self._exec_core: Any = client.CoreV1Api(client.ApiClient(api.configuration))  # `stream` changes its client
        self.helm, self.zones, self.namespace = helm, zones, helm.namespace
        self._certificates = certificates
        self._addresses: Mapping[tuple[str, str], str] = {}

    def install(self, bundles: Path, folder: Path) -> None:
        """Everything, from nothing: the last zone as a release for each service, the others as one release each."""
        meta = client.V1ObjectMeta(name=self.namespace, labels=RESTRICTED)
        self.core.create_namespace(client.V1Namespace(metadata=meta), _request_timeout=API_S)
        for secret in manifests(self.namespace, self.zones):
            self.core.create_namespaced_secret(self.namespace, secret, _request_timeout=API_S)
        self.helm.install("dev", "dev-servers", "--set", f"global.zones={{{','.join(self.zones)}}}")
        self.wait_ready()
        for zone in self.zones:
            self.copy_bundles(bundles, zone)
        self.tool("prepare", "--replication", str(len(self.zones)))
        for zone in self.zones[:-1]:
            self.helm.install_zone(zone, is_first=zone == self.zones[0])
        self.helm.install_services(self.zones[-1], folder)
        self.wait_ready()
        self.tool("world", "--pins", "600", "--people", "60", "--json")
        for name in sorted(path.name.removeprefix("announced-") for path in bundles.glob("announced-*")):
            (version,) = [path.name for path in (bundles / name).iterdir()]
            self.tool("models", "release", name, version)

    def open(self) -> None:
        """Make it reachable from outside."""
        self._addresses = open_ports(self.core, self.namespace, self.zones)
        wait_until(lambda: all(map(is_open, self._addresses.values())), OPEN_WITHIN_S, "ports are not open")
        fetch_certificates(self.core, self.namespace, self._certificates)

    def surface(self, zone: str) -> Surface:
        """A caller of that zone; close it in the loop that uses it."""
        return Surface(self._addresses, zone, self._certificates)

    def wait_ready(self, within_s: float = READY_WITHIN_S) -> float:
        """Return when every pod is ready, with the seconds it took."""
        return wait_until(lambda: not self.unready(), within_s, "pods are not ready")

    def unready(self) -> list[str]:
        pods = [pod for pod in self.pods() if not pod.metadata.name.endswith("-test")]
        return [pod.metadata.name for pod in pods if not _is_ready(pod)] if pods else ["none is there"]

    def pods(self, app: str = "", zone: str = "") -> list[Any]:
        """Of the whole, of a service, of a zone; those that are being deleted are left out."""
        wanted = [f"app.kubernetes.io/name={app}"] * bool(app) + [f"corkboard.dev/zone={zone}"] * bool(zone)
        labels = ",".join(["app.kubernetes.io/part-of=corkboard", *wanted])
        found = self.core.list_namespaced_pod(self.namespace, label_selector=labels, _request_timeout=API_S).items
        return [pod for pod in found if pod.metadata.deletion_timestamp is None]

    def metrics(self, pod: Any) -> str:
        """The page that Prometheus reads, through the API server."""
        port = next(p.container_port for c in pod.spec.containers for p in c.ports if p.name == "admin")
        name = f"{pod.metadata.name}:{port}"
        path = self.core.connect_get_namespaced_pod_proxy_with_path
        return str(path(name, self.namespace, path="metrics", _request_timeout=API_S))

    def tool(self, *arguments: str, zone: str = "") -> str:
        """Run `corkboard …` in the tools pod of a zone, the first one's unless said. Raises: AssertionError."""
        return self._run(zone or self.zones[0], ["python", "-m", "corkboard", *arguments])

    def copy_bundles(self, bundles: Path, zone: str) -> None:
        """Every bundle but the training data into the zone's volume."""
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as archive:
            for path in sorted(bundles.iterdir()):
                if not path.name.startswith("dataset-"):
                    archive.add(path, path.name)
        text = base64.b64encode(packed.getvalue()).decode()
        # A closed stdin is not told over the API: so many bytes and no more are read.
        unpack = f"head -c {len(text)} | base64 -d | tar -xzf - -C /bundles --no-same-owner"
        self._run(zone, ["sh", "-c", unpack], text)

    def _run(self, zone: str, command: list[str], stdin: str = "") -> str:
        (pod,) = self.pods("tools", zone)
        call = self._exec_core.connect_get_namespaced_pod_exec
        options: dict[str, Any] = {"stdin": bool(stdin), "stdout": True, "stderr": True, "tty": False}
        running = stream.stream(
            call, pod.metadata.name, self.namespace, command=command, _preload_content=False, **options
        )
        try:
            for at in range(0, len(stdin), CHUNK):
                running.write_stdin(stdin[at : at + CHUNK])
            running.run_forever(timeout=EXEC_S)
            said, printed, code = running.read_stderr(), running.read_stdout(), running.returncode
        finally:
            running.close()
            running.sock.shutdown()  # `close` does nothing once the other side has said goodbye
        assert code == 0, f"{' '.join(command)} in zone {zone}: {code}\n{said}{printed}"
        return str(printed)


def _is_ready(pod: Any) -> bool:
    return any(each.type == "Ready" and each.status == "True" for each in pod.status.conditions or [])
