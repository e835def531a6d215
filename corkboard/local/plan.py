"""Turns "these zones, these brokers" into the list of service processes with their environment."""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from corkboard.local.certificates import settings_of
from corkboard.local.home import Home
from corkboard.local.ports import Ports
from corkboard.local.shadow import Shadow

PER_ZONE = ("indexer", "ingest", "enrich", "cg", "ranker-leaf", "ranker", "blender")
ONCE = ("quota", "indexer-lake")
SHADOW = ("enrich-shadow", "indexer-shadow")
PASSED_ON = ("PATH", "HOME", "LANG", "TMPDIR", "LD_LIBRARY_PATH", "SSL_CERT_FILE", "VIRTUAL_ENV", "PYTHONPATH")


@dataclass(frozen=True)
class ServiceSpec:
    """One service process: how to start it and where to ask whether it is ready."""

    name: str
    module: str
    zone: str
    grpc_port: int
    admin_port: int
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def argv(self) -> list[str]:
        return [sys.executable, "-m", self.module]


@dataclass(frozen=True)
class Addresses:
    """Where the servers are, local or given."""

    kafka: str
    redis_by_zone: Mapping[str, str]
    otlp: str


@dataclass(frozen=True)
class Plan:
    """What runs: zones in order, one spec per process."""

    zones: tuple[str, ...]
    services: tuple[ServiceSpec, ...]


class Planner:
    """Knows which variable each service wants."""

    def __init__(
        self,
        home: Home,
        ports: Ports,
        zones: Sequence[str],
        addresses: Addresses,
        page_key: str,
        *,
        has_tls: bool = False,
    ) -> None:
        self._has_tls = has_tls
        self._home = home
        self._ports = ports
        self._zones = tuple(zones)
        self._addresses = addresses
        self._page_key = page_key

    def plan(self) -> Plan:
        """One process per service and zone; quota and the lake writer once."""
        specs = [self._spec(service, zone) for zone in self._zones for service in PER_ZONE]
        specs += [self._spec(service, self._zones[0]) for service in ONCE]
        return Plan(self._zones, tuple(specs))

    def shadow(self, shadow: Shadow) -> tuple[ServiceSpec, ...]:
        """Enrich and indexer once more, beside the first zone's, with definitions of their own."""
        zone = self._zones[0]
        both = {"SHADOW": shadow.name, "DEFINITIONS_VERSION": shadow.definitions_version}
        own = {
            "enrich-shadow": {"INDEXER_TARGET": self.target("indexer")},
            "indexer-shadow": {
                "ROLE": "all",
                "REDIS_URL": shadow.redis_url(self._addresses.redis_by_zone[zone]),
                "LAKE_DIR": str(shadow.lake_dir(self._home)),
                "LAKE_COMMIT_INTERVAL_S": "2",
            },
        }
        return tuple(self._spec(service, zone, own[service] | both) for service in SHADOW)

    def target(self, service: str) -> str:
        """Every zone's address of `service`, each with its zone, for a zone-aware client."""
        return ",".join(
            f"127.0.0.1:{self._ports.grpc(service, index)}@{zone}" for index, zone in enumerate(self._zones)
        )

    def _spec(self, service: str, zone: str, own: dict[str, str] | None = None) -> ServiceSpec:
        index = self._zones.index(zone)
        name = service if len(self._zones) == 1 or service in ONCE + SHADOW else f"{service}-{zone}"
        package = service.split("-")[0]
        prefix = package.upper()
        settings = self._shared(service, name, zone, index) | (own or self._own(service, zone))
        environment = {key: os.environ[key] for key in PASSED_ON if key in os.environ}
        # One arena and one thread per process: seven services share few cores and little memory.
        environment |= {"MALLOC_ARENA_MAX": "2", "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
        environment |= {"GRPC_VERBOSITY": "ERROR"}  # its core writes lines of its own, one for each bad handshake
        environment |= {f"{prefix}_{key}": value for key, value in settings.items()}
        return ServiceSpec(
            name,
            f"services.{package}",
            zone,
            self._ports.grpc(service, index),
            self._ports.admin(service, index),
            environment,
        )

    def _shared(self, service: str, name: str, zone: str, index: int) -> dict[str, str]:
        return (
            {
                "GRPC_PORT": str(self._ports.grpc(service, index)),
                "ADMIN_PORT": str(self._ports.admin(service, index)),
                "ZONE": zone,
                "INSTANCE": name,
                "GROUP_INSTANCE_ID": name,  # after a crash it is itself again at once
                "KAFKA_BOOTSTRAP": self._addresses.kafka,
                "OTLP_ENDPOINT": self._addresses.otlp,
                "BUNDLES_URI": str(self._home.bundles),
                "STATE_DIR": str(self._home.service_state(name)),
            }
            | self._leases(service)
            | (settings_of(self._home.certificates, service) if self._has_tls else {})
        )

    def _leases(self, service: str) -> dict[str, str]:
        if service == "quota":
            return {}
        return {"QUOTA_TARGET": f"127.0.0.1:{self._ports.grpc('quota', 0)}@{self._zones[0]}"}

    def _own(self, service: str, zone: str) -> dict[str, str]:
        redis_url = self._addresses.redis_by_zone[zone]
        indexer = self.target("indexer")
        own: dict[str, dict[str, str]] = {
            "enrich": {"INDEXER_TARGET": indexer},
            "indexer": {"ROLE": "online", "REDIS_URL": redis_url, "LAKE_DIR": str(self._home.lake)},
            "indexer-lake": {
                "ROLE": "lake",
                "REDIS_URL": redis_url,
                "LAKE_DIR": str(self._home.lake),
                "LAKE_COMMIT_INTERVAL_S": "5",
                "LAKE_KEEP_S": "600",  # each commit costs more by every snapshot that is kept
                "LAKE_UPKEEP_INTERVAL_S": "120",
                "RELIABILITY_INTERVAL_S": "30",
                "RELIABILITY_WINDOW_S": "300",  # nobody waits an hour here
            },
            "cg": {"INDEXER_TARGET": indexer},
            "ranker": {
                "ROLE": "root",
                "INDEXER_TARGET": indexer,
                "LEAF_TARGET": self.target("ranker-leaf"),
                "FEATURE_LOG_SHARE": "0.2",  # few feeds are asked for here
            },
            "ranker-leaf": {"ROLE": "leaf"},
            "blender": {
                "INDEXER_TARGET": indexer,
                "CG_TARGET": self.target("cg"),
                "RANKER_TARGET": self.target("ranker"),
                "REDIS_URL": redis_url,
                "PAGE_TOKEN_KEY": self._page_key,
            },
            "quota": {
                "LEDGER_PATH": str(self._home.data / "quota.sqlite"),
                "LAKE_TARGET": f"127.0.0.1:{self._ports.grpc('indexer-lake', 0)}@{self._zones[0]}",
            },
        }
        return own.get(service, {})
