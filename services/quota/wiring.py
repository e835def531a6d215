"""The quota service as one list of parts."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chassis.clock import SYSTEM_CLOCK, Clock
from chassis.grpc.limits import MethodLimit
from chassis.kafka.bus import Bus
from chassis.lifecycle import Service
from chassis.shell import Shell
from protos.contracts import CONTRACTS
from protos.quota.v1 import quota_pb2_grpc as rpc
from protos.topics import QUOTA_RULES, QUOTA_USAGE
from services.quota.app.capacity import CapacityDispatcher, ClusterCheck
from services.quota.app.checks import Checks, FunctionCheck, chosen_checks
from services.quota.app.dispatcher import Dispatcher
from services.quota.app.leader import Leader
from services.quota.app.leases import LeaseGranting
from services.quota.app.lifecycle import RuleLifecycle
from services.quota.app.plugins import load_plugins
from services.quota.app.rightsizing import Drafting, Rightsizing
from services.quota.app.rule_watch import RuleWatch
from services.quota.app.usage import Retention, UsageReader, UsageRetention
from services.quota.config import Config
from services.quota.domain.authority import Authority, Policy, parse_groups, parse_people, parse_tiers
from services.quota.domain.capacity import is_sound_capacity
from services.quota.domain.demand import STRATEGIES, Strategy
from services.quota.domain.lease_book import LeaseBook
from services.quota.domain.validation import CHECKS
from services.quota.inbound import grpc_server, kafka_consumer
from services.quota.inbound.actors import Actors, ClaimedActors, ProvenActors
from services.quota.inbound.grpc_capacity import CapacityServicer
from services.quota.inbound.grpc_usage import UsageServicer
from services.quota.outbound.grpc_rule_check import GrpcRuleCheck, parse_remote_checks
from services.quota.outbound.grpc_usage_history import GrpcUsageHistory
from services.quota.outbound.kafka_dispatch import KafkaRuleDispatch
from services.quota.outbound.postgres_database import PostgresDatabase
from services.quota.outbound.sql_database import SqlDatabase
from services.quota.outbound.sql_leader import SqlLeader
from services.quota.outbound.sql_rules import SqlRules
from services.quota.outbound.sql_usage import SqlUsage
from services.quota.outbound.sqlite_database import SqliteDatabase
from services.quota.ports import CapacityCluster, RuleCheck

PACKAGE = "corkboard.quota.v1"
# They read up to 28 days of usage of every rule.
LIMITS = {
    name: MethodLimit(timeout_s=60.0, max_concurrent=4)
    for name in ("QueryUsage", "ProposeRightsizing", "BacktestRightsizing", "ProposeHaircuts", "ApplyProposals")
}


@dataclass(frozen=True)
class Ledger:
    """The three stores on one database."""

    database: SqlDatabase
    rules: SqlRules
    usage: SqlUsage
    leader: SqlLeader


def open_ledger(path: str, url: str = "") -> Ledger:
    """The ledger in the SQLite file `path`, or in PostgreSQL at `url`; it opens when its database starts."""
    database = PostgresDatabase(url) if url else SqliteDatabase(path)
    return Ledger(database, SqlRules(database), SqlUsage(database), SqlLeader(database))


def build(
    config: Config, *, bus: Bus | None = None, ledger: Ledger | None = None, clock: Clock = SYSTEM_CLOCK
) -> Service:
    """The whole service; tests pass a fake bus, their own ledger and a clock they move."""
    shell = Shell("quota", config, CONTRACTS, bus=bus, clock=clock)
    ledger = ledger or open_ledger(config.ledger_path, config.ledger_url)
    lease_ms = int(config.lease_duration_s * 1000)
    holder = f"{config.zone}/{config.instance}/{secrets.token_hex(8)}"

    leader = Leader(ledger.leader, holder, clock, config.leader_duration_s)
    watch = RuleWatch(ledger.rules)
    dispatch = KafkaRuleDispatch(shell.producer, QUOTA_RULES)
    dispatcher = Dispatcher(
        (ledger.rules, ledger.rules), dispatch, watch, shell.health, clock, config.dispatch_retry_s, leader.is_leader
    )
    authority = Authority(parse_people(config.admins), parse_groups(config.groups))
    cluster = capacity_cluster(config)
    checks = Checks(_checks(shell, config, cluster), config.check_timeout_s, shell.metrics)
    lifecycle = RuleLifecycle(ledger.rules, checks, dispatcher, authority, clock)
    absent_ms = int(config.absent_reserve_s * 1000)
    book = LeaseBook(lease_ms, lambda: secrets.token_urlsafe(16), absent_ms)
    granting = LeaseGranting(ledger.rules, ledger.leader, leader, book, clock, lease_ms)
    history = GrpcUsageHistory(shell.channel(config.lake_target)) if config.lake_target else None
    reader = UsageReader(ledger.usage, history, clock)
    rightsizing = Rightsizing(ledger.rules, reader, clock, strategies(config))
    drafting = Drafting(lifecycle, Policy(config.policy_change_ratio, parse_tiers(config.policy_tiers)))
    retention = UsageRetention(ledger.usage, clock, Retention(config.usage_retention_s, config.usage_max_rows))
    usage = kafka_consumer.UsageInbound(ledger.usage)
    consumer = shell.bus.consumer(
        kafka_consumer.GROUP, [QUOTA_USAGE], kafka_consumer.GROUP, usage.handle, is_patient=True
    )

    capacity = CapacityDispatcher(
        ledger.rules,
        cluster,
        config.capacity_namespace,
        clock,
        config.capacity_interval_s,
        health=shell.health,
        metrics=shell.metrics,
        is_leader=leader.is_leader,
        is_admin=authority.is_admin,
    )
    actors = _actors(config)
    rules = grpc_server.QuotaServicer(lifecycle, ledger.rules, watch, actors)
    servicers: list[tuple[Any, object, str]] = [
        (rpc.add_QuotaServiceServicer_to_server, rules, "Quota"),
        (rpc.add_LeaseServiceServicer_to_server, grpc_server.LeaseServicer(granting, clock, lease_ms), "Lease"),
        (rpc.add_UsageServiceServicer_to_server, UsageServicer(reader, rightsizing, drafting, actors), "Usage"),
        (rpc.add_CapacityServiceServicer_to_server, CapacityServicer(capacity, clock, actors), "Capacity"),
    ]
    door = shell.grpc_door([(add, servicer, f"{PACKAGE}.{name}Service") for add, servicer, name in servicers], LIMITS)
    return shell.service(parts=[ledger.database, leader, dispatcher, capacity, retention, consumer], doors=[door])


def strategies(config: Config) -> Mapping[str, Strategy]:
    """The built-in strategies of right-sizing, and plug-ins."""
    return {**STRATEGIES, **load_plugins(config.strategy_plugins, "strategy_plugins")}


def capacity_cluster(config: Config) -> CapacityCluster | None:
    """Where capacity goes. The client of Kubernetes is imported only where there is one to talk to."""
    if config.kubeconfig:
        from services.quota.outbound.kubernetes_capacity import KubernetesCapacity

        return KubernetesCapacity(config.kubeconfig)
    if config.capacity_manifests_dir:
        from services.quota.outbound.kubernetes_manifests import ManifestFolder

        return ManifestFolder(Path(config.capacity_manifests_dir))
    return None


def _actors(config: Config) -> Actors:
    """Proven by tokens where there are keys to check them with."""
    if not config.actor_keys_path:
        return ClaimedActors()
    keys_path = Path(config.actor_keys_path)
    return ProvenActors(keys_path, config.actor_issuer, config.actor_audience, config.actor_claim)


def _checks(shell: Shell, config: Config, cluster: CapacityCluster | None) -> list[RuleCheck]:
    """The built-in ones, plug-ins, and those that others serve."""
    known = {**CHECKS, "capacity": is_sound_capacity}
    plugins = load_plugins(config.check_plugins, "check_plugins")
    remote = parse_remote_checks(config.remote_checks)
    return [
        *chosen_checks(config.checks, known, ignored={"cluster"}),
        *([ClusterCheck(cluster)] if cluster is not None and "cluster" in config.checks else []),
        *(FunctionCheck(name, function) for name, function in plugins.items()),
        *(GrpcRuleCheck(name, shell.channel(target), config.check_timeout_s) for name, target in remote.items()),
    ]
