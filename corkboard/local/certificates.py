"""Certificates of a local Corkboard: an authority for each start, a folder for each identity of `protos/callers.py`."""

import shutil
from pathlib import Path

from chassis.grpc.stub_methods import Stub, method_of
from chassis.testing.authority import LocalAuthority
from chassis.tls import CertificatePaths
from protos.callers import CALLERS, CONTENT, JOBS, OUTSIDE, PEOPLE, RANKER_ROOT, SURFACE, WORKLOADS

PREFIX = "spiffe://corkboard/ns/local/sa/"
WORKLOAD_OF = {"ranker": RANKER_ROOT, "enrich-shadow": "enrich", "indexer-shadow": "indexer"}
"""Local processes that are not called as their workload is."""
PLAYED = (PEOPLE, SURFACE, CONTENT, JOBS)  # who the command line may be, the most usual first


def issue_all(folder: Path) -> None:
    """New certificates for everybody; those of an earlier start are worth nothing any more."""
    forget(folder)
    authority = LocalAuthority()
    for name in (*WORKLOADS, *OUTSIDE):
        authority.write(folder / name, PREFIX + name)


def forget(folder: Path) -> None:
    """Remove all of them: this Corkboard speaks plaintext."""
    shutil.rmtree(folder, ignore_errors=True)


def paths_of(folder: Path, name: str) -> CertificatePaths:
    """The files of an identity."""
    return CertificatePaths(*(str(folder / name / file) for file in ("tls.crt", "tls.key", "ca.crt")))


def settings_of(folder: Path, process: str) -> dict[str, str]:
    """What a service must be told, without its prefix."""
    paths = paths_of(folder, WORKLOAD_OF.get(process, process))
    return {
        "TLS_ENABLED": "true",
        "TLS_CERT_PATH": paths.chain,
        "TLS_KEY_PATH": paths.key,
        "TLS_CA_PATH": paths.authorities,
        "TLS_IDENTITY_PREFIX": PREFIX,
    }


def job_environment(folder: Path | None) -> dict[str, str]:
    """What a job is told; nothing without mTLS."""
    if folder is None:
        return {}
    paths = paths_of(folder, JOBS)
    names = ("CORKBOARD_TLS_CERT_PATH", "CORKBOARD_TLS_KEY_PATH", "CORKBOARD_TLS_CA_PATH")
    return dict(zip(names, (paths.chain, paths.key, paths.authorities), strict=True))


def identity_for(stub: Stub, method: str) -> str:
    """Whom the command line must be to call a method; for one that only workloads call, people, who are refused."""
    callers = CALLERS.get(method_of(stub, method).name, frozenset())
    return next((name for name in PLAYED if name in callers), PEOPLE)
