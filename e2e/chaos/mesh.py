"""The scenarios as Chaos Mesh workflows: the same faults at the same seconds, done to pods instead of processes.

One `Workflow` for each scenario, all faults side by side, each behind a pause until its time. What a cluster's tool
cannot do is told in `NOT_IN_MESH`; nothing is left out silently.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from e2e.chaos.scenario import Fault, Scenario
from e2e.chaos.scenarios import SCENARIOS

SEED = 0
API_VERSION = "chaos-mesh.org/v1alpha1"
NAMESPACE = "corkboard"
# The names of charts, where they differ from those of local processes; servers are whatever the cluster labels so.
APPS: Mapping[str, str] = {"ranker": "ranker-root", "kafka-1": "kafka", "valkey": "valkey"}
KAFKA_DATA = "/var/lib/kafka/data"
NO_SPACE = 28  # errno
GRACE_S = 30
LOSSY_PERCENT = "20"
MARGIN_S = 60.0  # of the whole workflow, beyond its last fault
NOT_IN_MESH: Mapping[str, str] = {
    "crash_at": "a step inside of a process: e2e/test_kill_at_each_step.py",
    "flush": "a command to the store: kubectl exec … FLUSHALL",
    "change_type": "commands to the store",
    "poison": "records of a producer: part of the load",
    "join": "members of a group: part of the load",
    "bad_bundle": "an announcement: part of the load",
    "rotate": "certificates: cert-manager renews them",
    "wrong_empty": "answers: the setting *_FAULTS_ENABLED and a faults.json in the state folder",
    "wrong_nan": "as wrong_empty",
    "wrong_stale": "as wrong_empty",
    "wrong_error": "as wrong_empty",
    "wrong_slow": "as wrong_empty",
}
FIELDS: Mapping[str, str] = {"PodChaos": "podChaos", "NetworkChaos": "networkChaos", "IOChaos": "ioChaos"}
Spec = dict[str, Any]


def workflows() -> Mapping[str, Spec]:
    """Scenario name -> manifest, of those with at least one fault that a cluster can do."""
    made = {name: workflow(one) for name, one in SCENARIOS.items()}
    return {name: one for name, one in made.items() if one is not None}


def workflow(scenario: Scenario) -> Spec | None:
    """None when nothing of it can be done by a cluster."""
    faults = [fault for fault in scenario.schedule(SEED) if fault.action in FAULTS]
    if not faults:
        return None
    named = [(f"fault-{place}-{fault.action.replace('_', '-')}", fault) for place, fault in enumerate(faults, 1)]
    last_s = max(fault.at_s + fault.for_s for fault in faults)
    entry = {
        "name": "entry",
        "templateType": "Parallel",
        "deadline": _seconds(last_s + MARGIN_S),
        "children": [f"{name}-in-time" for name, _ in named],
    }
    caller = scenario.link[0] if scenario.link else ""
    return {
        "apiVersion": API_VERSION,
        "kind": "Workflow",
        "metadata": {
            "name": scenario.name.replace("_", "-"),
            "namespace": NAMESPACE,
            "labels": {"app.kubernetes.io/part-of": "corkboard"},
            "annotations": {"corkboard.dev/what": scenario.description},
        },
        "spec": {"entry": "entry", "templates": [entry, *(each for one in named for each in _in_time(*one, caller))]},
    }


def _in_time(name: str, fault: Fault, caller: str) -> Sequence[Spec]:
    """A pause until the fault's time, then the fault."""
    kind, spec = FAULTS[fault.action](fault, caller)
    wait, chaos = f"{name}-wait", f"{name}-do"
    deadline = {"deadline": _seconds(fault.for_s)} if fault.for_s else {}
    return (
        {"name": f"{name}-in-time", "templateType": "Serial", "children": [wait, chaos]},
        {"name": wait, "templateType": "Suspend", "deadline": _seconds(fault.at_s)},
        {"name": chaos, "templateType": kind, **deadline, FIELDS[kind]: spec},
    )


def _selector(target: str) -> Spec:
    """Pods of one app, or, for `zone:az-b`, all of a zone."""
    if target.startswith("zone:"):
        labels = {"app.kubernetes.io/part-of": "corkboard", "corkboard.dev/zone": f"az-{target.removeprefix('zone:')}"}
    else:
        labels = {"app.kubernetes.io/name": APPS.get(target, target)}
    return {"namespaces": [NAMESPACE], "labelSelectors": labels}


def _mode(target: str) -> Spec:
    return {"mode": "all" if target.startswith("zone:") else "one", "selector": _selector(target)}


def _kill(grace_s: int) -> Callable[[Fault, str], tuple[str, Spec]]:
    return lambda fault, _: ("PodChaos", {"action": "pod-kill", "gracePeriod": grace_s, **_mode(fault.target)})


def _away(fault: Fault, _: str) -> tuple[str, Spec]:
    return "PodChaos", {"action": "pod-failure", **_mode(fault.target)}


def _silent(fault: Fault, caller: str) -> tuple[str, Spec]:
    """No packet passes and nobody is told: what a paused process and a half-open connection look like from outside."""
    return "NetworkChaos", {**_network("loss", fault, caller), "loss": {"loss": "100", "correlation": "0"}}


def _lossy(fault: Fault, caller: str) -> tuple[str, Spec]:
    return "NetworkChaos", {**_network("loss", fault, caller), "loss": {"loss": LOSSY_PERCENT, "correlation": "0"}}


def _slow(fault: Fault, caller: str) -> tuple[str, Spec]:
    delay = {"latency": f"{fault.strength * 1000:.0f}ms", "jitter": "0ms", "correlation": "0"}
    return "NetworkChaos", {**_network("delay", fault, caller), "delay": delay}


def _cut(fault: Fault, caller: str) -> tuple[str, Spec]:
    return "NetworkChaos", _network("partition", fault, caller)


def _lost_acks(fault: Fault, caller: str) -> tuple[str, Spec]:
    """What the broker sends does not come; what it is sent does."""
    return "NetworkChaos", {**_network("partition", fault, caller), "direction": "to"}


def _disk_full(fault: Fault, _: str) -> tuple[str, Spec]:
    io = {"action": "fault", "errno": NO_SPACE, "percent": 100, "methods": ["WRITE"], "volumePath": KAFKA_DATA}
    return "IOChaos", {**io, **_mode(fault.target)}


def _network(action: str, fault: Fault, caller: str) -> Spec:
    """Between the target and its caller, both ways; everything of the target when no caller is named."""
    spec: Spec = {"action": action, "direction": "both", **_mode(fault.target)}
    return {**spec, "target": {"mode": "all", "selector": _selector(caller)}} if caller else spec


def _seconds(duration_s: float) -> str:
    return f"{max(1.0, duration_s):.0f}s"


FAULTS: Mapping[str, Callable[[Fault, str], tuple[str, Spec]]] = {
    "kill": _kill(0),
    "restart": _kill(GRACE_S),
    "away": _away,
    "pause": _silent,
    "half_open": _silent,
    "zone_away": _away,
    "zone_pause": _silent,
    "slow": _slow,
    "lossy": _lossy,
    "cut": _cut,
    "lost_acks": _lost_acks,
    "disk_full": _disk_full,
}
