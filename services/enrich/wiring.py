"""The object graph of enrich."""

from pathlib import Path

from chassis.bundles import BundleStore, bundle_part
from chassis.clock import SYSTEM_CLOCK, Clock
from chassis.kafka.bus import Bus, Part
from chassis.lifecycle import Service
from chassis.shell import Shell
from protos import topics
from protos.contracts import CONTRACTS
from protos.enrich.v1 import enrich_pb2, enrich_pb2_grpc
from protos.releases import decode_release
from sequences.definitions import bundle
from sequences.definitions.definitions import Definitions
from sequences.engine.lookup import CachedLookup, CacheLimits, LookupSource
from services.enrich.app.engine_metrics import EngineMetrics
from services.enrich.app.engines import Engines
from services.enrich.app.enrich_events import EnrichEvents
from services.enrich.app.enrich_pins import EnrichPins
from services.enrich.app.preview_event import PreviewEvent
from services.enrich.config import Config
from services.enrich.inbound.grpc_server import EnrichGrpc
from services.enrich.inbound.kafka_consumer import EventsInbound, PinsInbound
from services.enrich.outbound.grpc_pin_lookup import GrpcPinLookup
from services.enrich.outbound.kafka_enriched_events import KafkaEnrichedEvents
from services.enrich.outbound.kafka_enriched_pins import KafkaEnrichedPins
from services.enrich.outbound.kafka_parking import KafkaParking

LOOKUP_TIMEOUT_S = 1.0  # the definition's own limit of a look-up is below it and ends the call first


def build(
    config: Config,
    *,
    bus: Bus | None = None,
    clock: Clock = SYSTEM_CLOCK,
    definitions: Definitions | None = None,
    pins: LookupSource | None = None,
) -> Service:
    """Enrich, ready to start. `definitions` are used until a bundle is released."""
    shell = Shell("enrich", config, CONTRACTS, bus=bus, clock=clock)
    observer = EngineMetrics(shell.metrics)
    source = pins or GrpcPinLookup(shell.channel(config.indexer_target), LOOKUP_TIMEOUT_S)
    limits = CacheLimits(config.pin_cache_rows, config.pin_cache_ttl_s, config.missing_pin_ttl_s)
    engines = Engines(
        CachedLookup(source, limits, clock=clock, observer=observer),
        observer,
        shell.health,
        config.max_concurrent_batches,
    )
    if definitions is not None:
        engines.use(definitions)
    enriched, parked = (topic.shadow(config.shadow) for topic in (topics.EVENTS_ENRICHED, topics.EVENTS_ACCEPTED))
    watcher = bundle_part(
        config.definitions_version,
        shell.bus,
        topics.DEFINITIONS_RELEASED,
        decode_release,
        BundleStore(config.bundles_uri),
        {bundle.NAME},
        engines.apply,
        Path(config.state_dir),
        shell.metrics,
    )
    parking = KafkaParking(shell.producer, config.instance, clock, shell.metrics, parked.parked)
    on_events = EventsInbound(EnrichEvents(engines, KafkaEnrichedEvents(shell.producer, enriched), parking, clock))
    on_pins = PinsInbound(EnrichPins(engines, KafkaEnrichedPins(shell.producer, topics.PINS_ENRICHED), parking, clock))
    door = shell.grpc_door(
        [
            (
                enrich_pb2_grpc.add_EnrichServiceServicer_to_server,
                EnrichGrpc(PreviewEvent(engines, clock), clock),
                enrich_pb2.DESCRIPTOR.services_by_name["EnrichService"].full_name,
            )
        ]
    )
    group = f"{config.group}-{config.shadow}" if config.shadow else config.group
    readers: list[Part] = [shell.bus.consumer("events", [topics.EVENTS_ACCEPTED], group, on_events)]
    if not config.shadow:  # a shadow leaves pins alone: what it would make of them is what everybody reads
        readers.append(shell.bus.pipeline("pins", [topics.PINS_PUBLISHED], f"{group}.pins", on_pins))
    return shell.service(parts=[watcher, *readers], doors=[door])
