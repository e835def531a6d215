"""Prints the Secrets that a test cluster without cert-manager needs: `cluster_secrets.py NAMESPACE ZONE...`.

One for each workload and zone (<chart>-<zone>-tls), one for each caller from outside (<name>-tls), all from an
authority of this one run, valid for a week; and the key that signs page tokens. For `kubectl apply -f -`, with
`global.tls.certManager: false` in the charts.
"""

import base64
import json
import secrets
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

from chassis.testing.authority import LocalAuthority
from protos.callers import OUTSIDE, WORKLOADS

VALID_FOR = timedelta(days=7)
TRUST_DOMAIN = "corkboard"  # global.tls.trustDomain
PAGE_TOKEN_BYTES = 32


def manifests(namespace: str, zones: Sequence[str]) -> Iterator[dict[str, Any]]:
    """All Secrets, as Kubernetes takes them."""
    authority = LocalAuthority(f"corkboard test cluster {namespace}")
    for name in WORKLOADS:
        for zone in zones:
            yield _certificate(authority, namespace, name, f"{name}-{zone}")
    for name in OUTSIDE:
        yield _certificate(authority, namespace, name, name)
    key = secrets.token_urlsafe(PAGE_TOKEN_BYTES).encode()
    yield _secret(namespace, "corkboard-page-token", "Opaque", {"key": key})


def _certificate(authority: LocalAuthority, namespace: str, workload: str, host: str) -> dict[str, Any]:
    """Who it is, the same in every zone, and what it is called as: as the charts ask cert-manager for."""
    uri = f"spiffe://{TRUST_DOMAIN}/ns/{namespace}/sa/{workload}"
    hosts = [host, f"{host}.{namespace}", f"{host}.{namespace}.svc", f"{host}.{namespace}.svc.cluster.local"]
    chain, key = authority.issue(uri, dns_names=hosts, valid_for=VALID_FOR)
    files = {"tls.crt": chain, "tls.key": key, "ca.crt": authority.pem}
    return _secret(namespace, f"{host}-tls", "kubernetes.io/tls", files)


def _secret(namespace: str, name: str, kind: str, data: Mapping[str, bytes]) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app.kubernetes.io/part-of": "corkboard"}},
        "type": kind,
        "data": {file: base64.b64encode(content).decode() for file, content in data.items()},
    }


def main(arguments: Sequence[str]) -> int:
    """Returns the exit status."""
    if len(arguments) < 2:
        sys.stderr.write(f"{__doc__}\n")
        return 2
    items = list(manifests(arguments[0], arguments[1:]))
    json.dump({"apiVersion": "v1", "kind": "List", "items": items}, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
