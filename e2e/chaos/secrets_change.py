"""Certificates that change under load: another authority in the three steps of docs/security.md."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from chassis.errors import Invalid
from chassis.testing.authority import LocalAuthority
from corkboard.local.certificates import PREFIX, paths_of
from e2e.chaos.scenario import Fault
from e2e.house import House
from protos.callers import OUTSIDE, WORKLOADS

EVERYBODY = (*WORKLOADS, *OUTSIDE)


async def rotate(house: House, fault: Fault) -> Sequence[tuple[str, str, str, Any]]:
    """Trust both; issue by the new one; trust only that; `for_s` divided between the three."""
    folder = house.endpoints.certificates
    if folder is None:
        raise Invalid("certificates change only in a house with mTLS: corkboard up --tls", field="tls")
    new, old_pem = LocalAuthority(), await asyncio.to_thread(_trusted, folder)
    for step in (
        lambda: _trust(folder, old_pem + new.pem),
        lambda: _issue(folder, new, old_pem + new.pem),
        lambda: _trust(folder, new.pem),
    ):
        await asyncio.to_thread(step)
        await asyncio.sleep(fault.for_s / 3)
    return [("tls", "sample", "rotated", 1)]


def _trusted(folder: Path) -> bytes:
    return Path(paths_of(folder, "blender").authorities).read_bytes()


def _issue(folder: Path, authority: LocalAuthority, trusted_pem: bytes) -> None:
    for name in EVERYBODY:
        authority.write(folder / name, PREFIX + name)
    _trust(folder, trusted_pem)


def _trust(folder: Path, pem: bytes) -> None:
    for name in EVERYBODY:
        Path(paths_of(folder, name).authorities).write_bytes(pem)
