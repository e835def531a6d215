"""The whole indexer on one screen: the only file that names concrete classes."""

import json
from dataclasses import dataclass

from chassis.bundles import BundleStore, bundle_part
from chassis.clock import SYSTEM_CLOCK, Clock
from chassis.grpc.limits import MIB, MethodLimit
from chassis.grpc.server import Servicer
from chassis.health import Health
from chassis.kafka.bus import Bus, KafkaBus
from chassis.kafka.security import KafkaSecurity
from chassis.lifecycle import Part, Service
from chassis.metrics import Metrics
from chassis.process_memory import give_back
from chassis.redis.client import RedisClient
from chassis.redis.security import RedisSecurity
from chassis.shell import Shell
from protos import topics
from protos.contracts import CONTRACTS
from protos.indexer.v1 import indexer_pb2_grpc as rpc
from protos.releases import decode_release
from sequences.definitions.bundle import NAME as DEFINITIONS
from services.indexer.app.active_definitions import ActiveDefinitions
from services.indexer.app.audit_sequences import AuditSequences
from services.indexer.app.index_events import IndexEvents
from services.indexer.app.index_feeds import IndexFeeds
from services.indexer.app.keep_lake import KeepLake
from services.indexer.app.measure_reliability import MeasureReliability
from services.indexer.app.quality_board import QualityBoard
from services.indexer.app.read_features import ReadFeatures
from services.indexer.app.read_sequences import ReadSequences
from services.indexer.app.read_usage import ReadUsage
from services.indexer.app.write_lake import CommitLimits, LakeDrain, LakeWriter
from services.indexer.config import Config
from services.indexer.domain.lake_upkeep import UpkeepLimits
from services.indexer.inbound.grpc_features import FeatureServicer
from services.indexer.inbound.grpc_lake import LakeServicer
from services.indexer.inbound.grpc_sequences import SequenceServicer
from services.indexer.inbound.kafka_accepted import ACCEPTED_TOPICS, AcceptedConsumer
from services.indexer.inbound.kafka_lake import LAKE_GROUP, MAX_RECORDS, LakeConsumer
from services.indexer.inbound.kafka_online import OnlineConsumer, online_topics
from services.indexer.inbound.resources import resource_of
from services.indexer.outbound.duckdb_labels import LABEL_BY_TYPE
from services.indexer.outbound.iceberg_lake import IcebergLake
from services.indexer.outbound.iceberg_outcomes import IcebergOutcomes
from services.indexer.outbound.iceberg_upkeep import IcebergUpkeep
from services.indexer.outbound.redis_connection import RedisConnection
from services.indexer.outbound.redis_pins import RedisPinStore
from services.indexer.outbound.redis_rows import RedisRows
from services.indexer.outbound.redis_sealing import RedisSealing
from services.indexer.outbound.redis_sequences import RedisSequenceStore
from services.indexer.outbound.redis_users import RedisUserStore
from services.indexer.ports import Lake, PinStore, SequenceStore, UserStore

PACKAGE = "corkboard.indexer.v1"
MAX_CONNECTIONS = 1_024  # one per call inside; the door takes no more
ONLINE_LIMITS = {
    "BatchGetSequences": MethodLimit(timeout_s=10.0, max_concurrent=32),
    "BatchGetPins": MethodLimit(timeout_s=5.0, max_concurrent=128, max_request_bytes=MIB),
}
LAKE_LIMITS = {"QueryQuotaUsage": MethodLimit(timeout_s=30.0, max_concurrent=4)}


@dataclass(frozen=True)
class OnlineStore:
    """The three ports of one online store, and the part that owns its connection, if any."""

    sequences: SequenceStore
    users: UserStore
    pins: PinStore
    part: Part | None = None


def build(
    config: Config,
    *,
    bus: Bus | None = None,
    store: OnlineStore | None = None,
    lake: Lake | None = None,
    clock: Clock = SYSTEM_CLOCK,
) -> Service:
    """The service of the configured role; tests hand in fakes."""
    shell = Shell("indexer", config, CONTRACTS, bus=bus, clock=clock)
    parts: list[Part] = []
    servicers: list[Servicer] = []
    if config.has_online:
        online_parts, online_servicers = _online(shell, config, store or redis_store(config, clock))
        parts += online_parts
        servicers += online_servicers
    if config.has_lake:
        parts += _lake(shell, config, lake or iceberg_lake(config))
        usage = ReadUsage(iceberg_lake(config).stream)  # with a catalog of its own: the writer's is the writer's
        servicers.append((rpc.add_LakeServiceServicer_to_server, LakeServicer(usage), f"{PACKAGE}.LakeService"))
    limits = (ONLINE_LIMITS if config.has_online else {}) | (LAKE_LIMITS if config.has_lake else {})
    return shell.service(parts=parts, doors=[shell.grpc_door(servicers, limits, resource_of)])


def redis_store(config: Config, clock: Clock = SYSTEM_CLOCK) -> OnlineStore:
    """The online store of this zone."""
    client, connection = redis_connection(config)
    rows = RedisRows(connection)
    sequences = RedisSequenceStore(connection, rows, RedisSealing(connection, rows), clock)
    return OnlineStore(sequences, RedisUserStore(connection, clock), RedisPinStore(connection, rows), client)


def redis_connection(config: Config) -> tuple[RedisClient, RedisConnection]:
    """The server of the online store, and the part that owns the connections to it."""
    client = RedisClient(
        config.redis_url,
        timeout_s=config.write_timeout_s,
        connect_timeout_s=config.read_timeout_s,
        max_connections=MAX_CONNECTIONS,
        security=RedisSecurity.of(config),
    )
    limits = {"read_timeout_s": config.read_timeout_s, "write_timeout_s": config.write_timeout_s}
    return client, RedisConnection(client, **limits)


def kafka_bus(config: Config) -> KafkaBus:
    """Kafka for an offline job."""
    return KafkaBus(
        config.kafka_bootstrap,
        zone=config.zone,
        instance="indexer-offline",
        metrics=Metrics("indexer"),
        health=Health(),
        security=KafkaSecurity.of(config),
    )


def iceberg_lake(config: Config) -> IcebergLake:
    """The tables of the configured catalog."""
    return IcebergLake(config.lake_dir, json.loads(config.lake_catalog_properties))


def _online(shell: Shell, config: Config, store: OnlineStore) -> tuple[list[Part], list[Servicer]]:
    clock, board = shell.clock, QualityBoard()
    definitions = ActiveDefinitions(shell.health)
    watcher = bundle_part(
        config.definitions_version,
        shell.bus,
        topics.DEFINITIONS_RELEASED,
        decode_release,
        BundleStore(config.bundles_uri),
        {DEFINITIONS},
        definitions.apply,
        config.state_dir,
        shell.metrics,
        clock=clock,
    )
    consumer = OnlineConsumer(
        IndexEvents(definitions, store.sequences, board, clock, shell.metrics),
        IndexFeeds(definitions, store.users),
        store.pins,
        store.users,
        config.shadow,
    )
    group = _group(f"indexer-online-{config.zone}", config)
    consuming = shell.bus.consumer("online", online_topics(config.shadow), group, consumer.handle)
    audit = AuditSequences(definitions, store.sequences, board, clock, shell.metrics)
    accepted = AcceptedConsumer(audit, shell.bus, shell.metrics)
    watching = shell.bus.consumer(
        "audit",
        ACCEPTED_TOPICS,
        f"indexer-audit-{config.zone}",
        accepted.handle,
        start_offsets=accepted.start_offsets,
    )
    reads = ReadSequences(definitions, store.sequences, board, clock)
    sequences = SequenceServicer(reads)
    features = FeatureServicer(ReadFeatures(definitions, store.users, store.pins, clock), reads)
    servicers: list[Servicer] = [
        (rpc.add_SequenceServiceServicer_to_server, sequences, f"{PACKAGE}.SequenceService"),
        (rpc.add_FeatureServiceServicer_to_server, features, f"{PACKAGE}.FeatureService"),
    ]
    auditing = () if config.shadow else (audit, watching)  # the real one answers for completeness
    return [*([store.part] if store.part else []), watcher, consuming, *auditing], servicers


def _lake(shell: Shell, config: Config, lake: Lake) -> list[Part]:
    limits = CommitLimits(config.lake_commit_interval_s, config.lake_commit_bytes, config.lake_commit_events)
    writer = LakeWriter(lake, limits, shell.clock, shell.metrics)
    consumer = LakeConsumer(writer, config.shadow)
    consuming = shell.bus.consumer(
        "lake",
        consumer.topics,
        _group(LAKE_GROUP, config),
        consumer.handle,
        max_records=MAX_RECORDS,
        start_offsets=consumer.start_offsets,
        check=consumer.check,
        is_patient=True,  # commits are seconds apart
    )
    rounds = [*_upkeep(shell, config, lake, writer), *_reliability(shell, config, lake)]
    return [writer, *rounds, consuming, LakeDrain(writer)]


def upkeep_limits(config: Config) -> UpkeepLimits:
    """How small a file and how old a snapshot may be."""
    return UpkeepLimits(keep_snapshots=config.lake_keep_snapshots, keep_s=config.lake_keep_s)


def _upkeep(shell: Shell, config: Config, lake: Lake, writer: LakeWriter) -> list[Part]:
    if not isinstance(lake, IcebergLake):
        return []
    every_s, limits = config.lake_upkeep_interval_s, upkeep_limits(config)
    return [
        KeepLake(lambda: IcebergUpkeep(lake.catalog), writer, limits, every_s, shell.clock, shell.metrics, give_back)
    ]


def _reliability(shell: Shell, config: Config, lake: Lake) -> list[Part]:
    if not isinstance(lake, IcebergLake) or config.shadow or not config.reliability_interval_s:
        return []
    return [
        MeasureReliability(
            IcebergOutcomes(lake.reader()),
            LABEL_BY_TYPE,
            interval_s=config.reliability_interval_s,
            window_s=config.reliability_window_s,
            clock=shell.clock,
            metrics=shell.metrics,
        )
    ]


def _group(name: str, config: Config) -> str:
    return f"{name}-{config.shadow}" if config.shadow else name
