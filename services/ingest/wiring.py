"""The object graph of ingest."""

from pathlib import Path

from chassis.bundles import BundleStore, BundleWatcher
from chassis.clock import SYSTEM_CLOCK, Clock
from chassis.grpc.limits import MIB, MethodLimit
from chassis.kafka.bus import Bus
from chassis.lifecycle import Service
from chassis.shell import Shell
from protos import topics
from protos.contracts import CONTRACTS
from protos.ingest.v1 import ingest_pb2, ingest_pb2_grpc
from protos.releases import decode_release
from sequences.definitions import bundle
from sequences.definitions.active import ActiveDefinitions
from sequences.definitions.definitions import Definitions
from services.ingest.app.publish_events import PublishEvents
from services.ingest.app.publish_pins import PublishPins
from services.ingest.config import Config
from services.ingest.domain.pending_bytes import PendingBytes
from services.ingest.domain.recent_ids import RecentIds
from services.ingest.inbound.grpc_server import IngestGrpc
from services.ingest.outbound.kafka_event_lane import EnvelopeLimits
from services.ingest.outbound.kafka_event_log import KafkaEventLog
from services.ingest.outbound.kafka_pin_log import KafkaPinLog

MARGIN_S = 2.0  # a door's limit lies above the bounded wait, so that UNAVAILABLE comes before DEADLINE_EXCEEDED


def build(
    config: Config, *, bus: Bus | None = None, clock: Clock = SYSTEM_CLOCK, definitions: Definitions | None = None
) -> Service:
    """Ingest, ready to start. `definitions` are used until a bundle is released."""
    shell = Shell("ingest", config, CONTRACTS, bus=bus, clock=clock)
    active = ActiveDefinitions(shell.health, definitions)
    watcher = BundleWatcher(
        shell.bus,
        topics.DEFINITIONS_RELEASED,
        decode_release,
        BundleStore(config.bundles_uri),
        {bundle.NAME},
        active.apply,
        Path(config.state_dir),
        shell.metrics,
    )
    pending = PendingBytes(config.max_pending_bytes)
    limits = EnvelopeLimits(config.envelope_max_events, config.flush_delay_ms / 1000)
    event_log = KafkaEventLog(shell.producer, topics.EVENTS_ACCEPTED, limits, pending, shell.metrics)
    pin_log = KafkaPinLog(shell.producer, topics.PINS_PUBLISHED, pending)
    events = PublishEvents(
        active, event_log, shell.protection, RecentIds(config.num_recent_ids), clock, config.ack_timeout_s
    )
    pins = PublishPins(active, pin_log, shell.protection, clock, config.ack_timeout_s)
    servicer = IngestGrpc(events, pins, shell.metrics)
    timeout_s = config.ack_timeout_s + MARGIN_S
    door = shell.grpc_door(
        [
            (
                ingest_pb2_grpc.add_IngestServiceServicer_to_server,
                servicer,
                ingest_pb2.DESCRIPTOR.services_by_name["IngestService"].full_name,
            )
        ],
        limits={
            "PublishEvents": MethodLimit(timeout_s=timeout_s, max_request_bytes=8 * MIB),
            "PublishPins": MethodLimit(timeout_s=timeout_s, max_request_bytes=32 * MIB, max_concurrent=8),
        },
    )
    return shell.service(parts=[watcher, event_log], doors=[door])
