"""Targets as they are written in configuration: `host:port@zone,host:port@other-zone`."""

import ipaddress
from dataclasses import dataclass

from chassis.errors import Invalid


@dataclass(frozen=True, slots=True)
class Address:
    """Where one endpoint listens; zone "" means it counts as the caller's own."""

    host_port: str
    zone: str = ""

    @property
    def may_be_many(self) -> bool:
        """Whether it is a name, behind which there may be several processes."""
        try:
            ipaddress.ip_address(self.host_port.rpartition(":")[0].strip("[]"))
        except ValueError:
            return True
        return False


def parse_target(target: str) -> tuple[Address, ...]:
    """The addresses of `target`, in its order.

    Raises: Invalid for an empty target, a missing or bad port, an address named twice.
    """
    addresses = tuple(_address(part.strip(), target) for part in target.split(",") if part.strip())
    if not addresses:
        raise Invalid(f"target {target!r} names no host:port", field="target")
    if len({address.host_port for address in addresses}) != len(addresses):
        raise Invalid(f"target {target!r} names an address twice", field="target")
    return addresses


def peer_name(target: str) -> str:
    """What metrics call the peer: its host's name without zone and domain ("cg" of "cg-az-a.feeds.svc:7104@az-a").

    Targets that name no host, or hosts of several names, are called by what they are.
    """
    addresses = parse_target(target)
    hosts = {
        address.host_port.rpartition(":")[0].split(".")[0].removesuffix(f"-{address.zone}") for address in addresses
    }
    return hosts.pop() if len(hosts) == 1 and all(address.may_be_many for address in addresses) else target


def _address(part: str, target: str) -> Address:
    host_port, _, zone = part.partition("@")
    host, _, port = host_port.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise Invalid(f"{part!r} in target {target!r} is not host:port or host:port@zone", field="target")
    return Address(host_port, zone)
