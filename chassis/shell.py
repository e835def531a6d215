"""What every service has before it has a purpose: traces, metrics, health, Kafka, peers, quota, admin port."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from chassis.admin import AdminServer
from chassis.bundles import BundleWatcher
from chassis.clock import SYSTEM_CLOCK, Clock
from chassis.config import ServiceConfig, redacted
from chassis.deadline import Deadline
from chassis.grpc.access import AccessTable, Callers, Identities, parse_aliases
from chassis.grpc.admission import ResourceOf
from chassis.grpc.client import ChannelPool
from chassis.grpc.limits import MethodLimit, ServerLimits
from chassis.grpc.server import GrpcDoor, Servicer
from chassis.grpc.target import peer_name
from chassis.grpc.wrong_answers import WrongAnswers
from chassis.health import Health
from chassis.kafka.bus import Bus, KafkaBus, Producer
from chassis.kafka.producer import LINGER_S
from chassis.kafka.security import KafkaSecurity
from chassis.kafka.topic import Topic
from chassis.lifecycle import Part, Service
from chassis.logs import get_logger
from chassis.metrics import Metrics
from chassis.protection import LeaseKeeper, LeaseSource, Protection, Rule, RuleFeed, UsageReporter, UsageWindow
from chassis.protection.shedding import SheddingLimits
from chassis.tls import CertificatePaths, CertificateSource
from chassis.tracing import Tracing


@dataclass(frozen=True)
class Contracts:
    """Topics and wire formats that the chassis itself must not know; every service hands in the same ones."""

    rules_topic: Topic
    decode_rule: Callable[[bytes], Rule]
    usage_topic: Topic
    encode_usage: Callable[[UsageWindow], bytes]
    lease_source: Callable[[Sequence[ChannelPool], str], LeaseSource] | None = None  # of (quota processes, client id)
    callers: Callers = field(default_factory=dict)  # asked while mTLS is on


class Peers:
    """The channel pools of a process as one part. A pool made after the start is closed with the others."""

    name = "peers"

    def __init__(self) -> None:
        self.pools: dict[str, ChannelPool] = {}

    async def start(self, tasks: asyncio.TaskGroup) -> None:
        """Never waits: channels open with the first calls."""
        for pool in self.pools.values():
            await pool.start(tasks)

    async def stop(self, deadline: Deadline) -> None:
        """Close them all."""
        for pool in self.pools.values():
            await pool.stop(deadline)


class Shell:
    """Where every wiring starts. `service(parts, doors)` puts what is given inside what is common."""

    def __init__(
        self,
        name: str,
        config: ServiceConfig,
        contracts: Contracts,
        *,
        bus: Bus | None = None,
        clock: Clock = SYSTEM_CLOCK,
        linger_s: float = LINGER_S,
    ) -> None:
        self.name = name
        self.config = config
        self.clock = clock
        self.metrics = Metrics(name)
        self.health = Health()
        self.bus: Bus = bus or KafkaBus(
            config.kafka_bootstrap,
            zone=config.zone,
            instance=config.instance,
            metrics=self.metrics,
            health=self.health,
            clock=clock,
            group_instance_id=config.group_instance_id,
            security=KafkaSecurity.of(config),
        )
        self.producer: Producer = self.bus.producer(linger_s=linger_s)
        self.protection = Protection(clock=clock, metrics=self.metrics, is_shadow=config.quota_shadow)
        self._contracts = contracts
        self._peers = Peers()
        self._certificates = self._read_certificates()

    def channel(self, target: str) -> ChannelPool:
        """The pool of channels to a peer; the same target gives the same pool."""
        pools = self._peers.pools
        if target not in pools:
            pools[target] = ChannelPool(
                target,
                zone=self.config.zone,
                name=peer_name(target),
                metrics=self.metrics,
                clock=self.clock,
                certificates=self._certificates,
            )
        return pools[target]

    def grpc_door(
        self,
        servicers: Sequence[Servicer],
        limits: Mapping[str, MethodLimit] | None = None,
        resource_of: ResourceOf | None = None,
    ) -> GrpcDoor:
        """The gRPC door on the configured port. `resource_of` names what a call is charged to, if anything."""
        return GrpcDoor(
            servicers,
            health=self.health,
            metrics=self.metrics,
            host=self.config.grpc_host,
            port=self.config.grpc_port,
            limits=ServerLimits(methods=limits or {}),
            is_reflection_enabled=self.config.reflection_enabled,
            admitter=self.protection,
            resource_of=resource_of,
            shedding=self._shedding(),
            certificates=self._certificates,
            access=self._access(),
            wrong_answers=self._wrong_answers(),
        )

    def _read_certificates(self) -> CertificateSource | None:
        config = self.config
        if not config.tls_enabled:
            return None
        paths = CertificatePaths(config.tls_cert_path, config.tls_key_path, config.tls_ca_path)
        return CertificateSource(paths, self.metrics)

    def _access(self) -> AccessTable | None:
        """Without mTLS nobody knows who calls: there is nothing to look up."""
        config = self.config
        if self._certificates is None:
            return None
        identities = Identities(config.tls_identity_prefix, parse_aliases(config.tls_aliases))
        return AccessTable(self._contracts.callers, identities, self.metrics)

    def _wrong_answers(self) -> WrongAnswers | None:
        if not self.config.faults_enabled:
            return None
        get_logger(__name__).warning("faults_are_enabled", effect="answers can be made wrong on purpose")
        return WrongAnswers(Path(self.config.state_dir), self.metrics, self.clock)

    def _shedding(self) -> SheddingLimits:
        config = self.config
        return SheddingLimits(
            is_enabled=config.shed_enabled,
            min_concurrent=config.shed_min_concurrent,
            latency_tolerance=config.shed_latency_tolerance,
            max_lag_s=config.shed_max_lag_s,
        )

    def service(self, *, parts: Sequence[Part], doors: Sequence[Part]) -> Service:
        """The whole service, common parts around its own."""
        certificates = [self._certificates] if self._certificates is not None else []
        common: list[Part] = [self._tracing(), self._admin(parts), *certificates, self.producer, self._peers]
        return Service(
            self.name,
            parts=[*common, *self._quota(), *parts],
            doors=doors,
            health=self.health,
            drain_s=self.config.drain_s,
        )

    def _tracing(self) -> Tracing:
        config = self.config
        return Tracing(
            self.name,
            config.instance,
            config.otlp_endpoint,
            config.trace_sample_ratio,
            config.zone,
            metrics=self.metrics,
            max_per_s=config.trace_max_per_s,
        )

    def _quota(self) -> list[Part]:
        config, contracts = self.config, self._contracts
        rules = RuleFeed(
            self.bus, contracts.rules_topic, contracts.decode_rule, self.protection, config.state_dir, clock=self.clock
        )
        source = (self.name, config.instance, config.zone)
        usage = UsageReporter(
            self.protection, self.producer, contracts.usage_topic, contracts.encode_usage, source, clock=self.clock
        )
        return [rules, *self._leases(), usage]

    def _leases(self) -> list[Part]:
        config, lease_source = self.config, self._contracts.lease_source
        if not config.quota_target or lease_source is None:
            return []
        client_id = f"{self.name}/{config.zone}/{config.instance}"
        # One pool per address: leases come from the one that leads, so calls must not be spread.
        pools = [self.channel(address) for address in config.quota_target.split(",") if address.strip()]
        source = lease_source(pools, client_id)
        return [LeaseKeeper(self.protection, source, clock=self.clock, metrics=self.metrics)]

    def _admin(self, parts: Sequence[Part]) -> AdminServer:
        watchers = [part for part in parts if isinstance(part, BundleWatcher)]

        def versions() -> Mapping[str, str]:
            return {name: version for watcher in watchers for name, version in watcher.versions.items()}

        return AdminServer(
            self.config.admin_host,
            self.config.admin_port,
            health=self.health,
            metrics=self.metrics,
            settings=redacted(self.config),
            bundle_versions=versions,
        )
