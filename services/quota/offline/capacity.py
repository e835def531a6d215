"""Puts the capacity of teams into force without rules: manifests in a folder, or a cluster when a kubeconfig is given.

`python -m services.quota.offline.capacity capacity.json --out manifests [--kubeconfig FILE [--apply]]`

`capacity.json` is a list of {"team", "zone", "namespace", "hard": {"requests.cpu": "40"}, "container_default": {}}.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from chassis import strict_json
from chassis.errors import CorkboardError, Invalid
from chassis.logs import get_logger
from services.quota.domain.capacity import CapacityQuota, check_capacity
from services.quota.domain.cluster import differences
from services.quota.outbound.kubernetes_capacity import KubernetesCapacity
from services.quota.outbound.kubernetes_manifests import ManifestFolder
from services.quota.ports import CapacityCluster

log = get_logger(__name__)


def read_quotas(path: Path) -> list[CapacityQuota]:
    """The quotas of a file, all of them acceptable. Raises: Invalid."""
    try:
        quotas = [CapacityQuota(**entry) for entry in strict_json.loads(path.read_text())]
    except (OSError, TypeError, ValueError) as error:
        raise Invalid(f"{path} is no list of capacity quotas: {error}") from error
    for quota in quotas:
        check_capacity(quota)
    if len({(quota.namespace, quota.name) for quota in quotas}) != len(quotas):
        raise Invalid(f"{path} names a team and zone twice", field="team")
    return quotas


def apply_to_cluster(quotas: Sequence[CapacityQuota], cluster: CapacityCluster, *, is_applied: bool) -> int:
    """Dry run of everything first, then drift is told and, with `is_applied`, removed; how many quotas differed."""
    for quota in quotas:
        cluster.apply(quota, is_dry_run=True)
    held = {(each.namespace, each.name): each for each in cluster.held()}
    drifted = [
        (quota, drift) for quota in quotas if (drift := differences(quota, held.get((quota.namespace, quota.name))))
    ]
    for quota, drift in drifted:
        log.info("capacity differs", namespace=quota.namespace, object=quota.name, drift=drift)
        if is_applied:
            cluster.apply(quota, is_dry_run=False)
    return len(drifted)


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0 when done, 1 for bad input or a cluster that refused, 2 when drift was found and not applied."""
    parser = argparse.ArgumentParser(description="Capacity quotas as Kubernetes objects.")
    parser.add_argument("quotas", type=Path, help="JSON list of quotas")
    parser.add_argument("--out", type=Path, default=Path("manifests"), help="folder of the manifests")
    parser.add_argument("--kubeconfig", default="", help="compare with, and apply to, the cluster of this file")
    parser.add_argument("--apply", action="store_true", help="remove the drift")
    options = parser.parse_args(arguments)
    try:
        quotas = read_quotas(options.quotas)
        folder = ManifestFolder(options.out)
        for quota in quotas:
            folder.apply(quota, is_dry_run=False)
            log.info("manifests written", folder=str(options.out), object=quota.name)
        if not options.kubeconfig:
            return 0
        num_drifted = apply_to_cluster(quotas, KubernetesCapacity(options.kubeconfig), is_applied=options.apply)
    except CorkboardError as error:
        log.error("capacity not dispatched", error=str(error), field=error.field)
        return 1
    return 2 if num_drifted and not options.apply else 0


if __name__ == "__main__":
    sys.exit(main())
