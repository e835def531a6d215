"""Takes a zone out of service for a while, as a practice run: its doors close gracefully, the others carry the load.

What is behind the doors stays up and warm, as nobody calls it: the way back is short. Consumers go on, as their work is
everybody's. How it was is written on each Deployment, so that a shift whose command died can be ended by another.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from chassis.errors import Conflict, DeadlineExceeded, NotFound, Unavailable

SHIFTED = ("blender", "ingest")  # who answers surfaces; autoscalers leave a Deployment of 0 pods alone
REPLICAS = "corkboard.dev/replicas-before-shift"
SETTLES_WITHIN_S = 300.0
POLL_S = 1.0


@dataclass(frozen=True)
class Workload:
    """One service in one zone."""

    name: str
    app: str
    zone: str
    replicas: int
    ready: int
    annotations: Mapping[str, str]


class Workloads(Protocol):
    """The zone's services as a cluster has them."""

    def list(self) -> Sequence[Workload]:
        """Of every zone."""

    def scale(self, name: str, replicas: int, annotation: str | None) -> None:
        """Ask for so many pods, and note `annotation` as REPLICAS (None removes the note), in one step."""


@contextmanager
def shifted(workloads: Workloads, zone: str, say: Callable[[str], None]) -> Iterator[None]:
    """The zone is out of service inside the block, and back after it, whatever ended the block.

    Raises: NotFound for an unknown zone, Conflict when it is shifted already or another zone is, Unavailable when no
    other zone could take over, DeadlineExceeded when pods do not go or come.
    """
    doors = _check(workloads.list(), zone)
    try:
        for one in doors:
            workloads.scale(one.name, 0, str(one.replicas))
        _settle(workloads, zone, {one.name: 0 for one in doors})
        say(f"zone {zone} is out of service: {', '.join(one.name for one in doors)} drained and stopped")
        yield
    finally:
        restore(workloads, zone, say)


def restore(workloads: Workloads, zone: str, say: Callable[[str], None]) -> list[str]:
    """End a shift: every service has the pods that it had. Returns the names; none when nothing was shifted.

    Raises: DeadlineExceeded when pods do not become ready.
    """
    before = {one.name: int(one.annotations[REPLICAS]) for one in _of_zone(workloads.list(), zone, is_shifted=True)}
    for name, replicas in before.items():
        workloads.scale(name, replicas, None)
    _settle(workloads, zone, before)
    say(f"zone {zone} is back: {', '.join(before)}" if before else f"zone {zone} was not shifted")
    return list(before)


def _check(found: Sequence[Workload], zone: str) -> list[Workload]:
    zones = sorted({one.zone for one in found})
    if zone not in zones:
        raise NotFound(f"there is no zone {zone!r} here; there are: {', '.join(zones) or 'none'}", field="zone")
    for other in zones:
        if gone := list(_of_zone(found, other, is_shifted=True)):
            names = ", ".join(one.name for one in gone)
            raise Conflict(f"zone {other} is shifted ({names}); end that first: corkboard zone restore {other}")
    doors = [one for one in found if one.zone == zone and one.app in SHIFTED and one.replicas]
    for app in SHIFTED:
        if not any(one.ready for one in found if one.app == app and one.zone != zone):
            raise Unavailable(f"no other zone has a ready {app}: shifting {zone} would stop everything")
    return doors


def _of_zone(found: Sequence[Workload], zone: str, *, is_shifted: bool) -> Iterator[Workload]:
    return (one for one in found if one.zone == zone and (REPLICAS in one.annotations) == is_shifted)


def _settle(workloads: Workloads, zone: str, wanted: Mapping[str, int]) -> None:
    give_up_s = time.monotonic() + SETTLES_WITHIN_S
    while True:
        ready = {one.name: one.ready for one in workloads.list() if one.zone == zone}
        if all(ready.get(name, 0) == replicas for name, replicas in wanted.items()):
            return
        if time.monotonic() > give_up_s:
            raise DeadlineExceeded(f"zone {zone} has {ready} pods ready and not {dict(wanted)}")
        time.sleep(POLL_S)


class KubernetesWorkloads:
    """Deployments of the charts in one namespace."""

    def __init__(self, namespace: str, kubeconfig: str | None = None) -> None:
        try:
            from kubernetes import client, config
        except ImportError as error:
            raise Unavailable("a cluster is reached with: pip install 'corkboard[quota]'") from error
        load: Any = config.new_client_from_config
        try:
            self._apps: Any = client.AppsV1Api(load(config_file=kubeconfig))
        except config.ConfigException as error:
            raise Unavailable(f"no cluster: {error}; KUBECONFIG or --kubeconfig names its file") from error
        self._namespace = namespace

    def list(self) -> Sequence[Workload]:
        """See `Workloads`."""
        labels = "app.kubernetes.io/part-of=corkboard,corkboard.dev/zone"
        found = self._apps.list_namespaced_deployment(self._namespace, label_selector=labels, _request_timeout=10)
        return [
            Workload(
                each.metadata.name,
                each.metadata.labels["app.kubernetes.io/name"],
                each.metadata.labels["corkboard.dev/zone"],
                each.spec.replicas,
                each.status.ready_replicas or 0,
                each.metadata.annotations or {},
            )
            for each in found.items
        ]

    def scale(self, name: str, replicas: int, annotation: str | None) -> None:
        """See `Workloads`."""
        change = {"metadata": {"annotations": {REPLICAS: annotation}}, "spec": {"replicas": replicas}}
        self._apps.patch_namespaced_deployment(name, self._namespace, change, _request_timeout=10)
