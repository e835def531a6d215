"""A Corkboard that runs somewhere else, such as the charts' on a cluster, as a pod beside it finds it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from chassis.errors import Invalid, Unavailable
from corkboard.local.certificates import WORKLOAD_OF
from corkboard.local.ports import Ports

CHART_PORTS = {"indexer-lake": "indexer"}  # processes that listen on the port of another


@dataclass(frozen=True)
class Elsewhere:
    """Addresses by a pattern of host names; the services listen on their usual ports."""

    hosts: str
    zones: tuple[str, ...]
    kafka: str
    otlp: str = ""
    certificates: Path | None = None

    @classmethod
    def of_environment(cls, environment: Mapping[str, str]) -> "Elsewhere | None":
        """`CORKBOARD_HOSTS` (such as "{service}-{zone}") with `CORKBOARD_ZONES` (own zone first) and `CORKBOARD_KAFKA`;
        `CORKBOARD_CERTIFICATES` is a folder with one for each caller. None without the first.

        Raises: Invalid with the variable that is missing or wrong.
        """
        hosts = environment.get("CORKBOARD_HOSTS", "")
        if not hosts:
            return None
        if "{service}" not in hosts:
            raise Invalid(f"CORKBOARD_HOSTS is {hosts!r}: write it with {{service}}, such as {{service}}-{{zone}}")
        zones = tuple(zone for zone in environment.get("CORKBOARD_ZONES", "").split(",") if zone)
        for name, value in (("CORKBOARD_ZONES", zones), ("CORKBOARD_KAFKA", environment.get("CORKBOARD_KAFKA"))):
            if not value:
                raise Invalid(f"CORKBOARD_HOSTS is given, so {name} must be, too", field=name)
        certificates = environment.get("CORKBOARD_CERTIFICATES", "")
        return cls(
            hosts,
            zones,
            environment["CORKBOARD_KAFKA"],
            environment.get("CORKBOARD_OTLP", ""),
            Path(certificates) if certificates else None,
        )

    def zone_index(self, zone: str) -> int:
        """Of the named zone, the first one for "". Raises: Unavailable."""
        if zone and zone not in self.zones:
            raise Unavailable(f"there is no zone {zone!r}; there are: {', '.join(self.zones)}")
        return self.zones.index(zone) if zone else 0

    def address(self, service: str, zone_index: int) -> str:
        """`host:port` of a service as the command line calls it."""
        host = self.hosts.format(service=WORKLOAD_OF.get(service, service), zone=self.zones[zone_index])
        return f"{host}:{Ports().grpc(CHART_PORTS.get(service, service))}"
