"""Builds the service: the only file that names concrete classes."""

from collections.abc import Mapping
from functools import partial

import torch

from chassis.bundles import BundleStore, BundleWatcher
from chassis.bundles.watcher import Apply
from chassis.clock import SYSTEM_CLOCK, Clock
from chassis.grpc.limits import MethodLimit
from chassis.health import Health
from chassis.kafka.bus import Bus, KafkaBus
from chassis.kafka.security import KafkaSecurity
from chassis.kafka.topic import Topic
from chassis.lifecycle import Part, Service
from chassis.shell import Shell
from protos import topics
from protos.cg.v1.cg_pb2_grpc import add_RetrievalServiceServicer_to_server
from protos.contracts import CONTRACTS
from protos.releases import decode_release
from services.cg.app.keep_index import IndexKeeper
from services.cg.app.refresh_states import READ_WITHIN_S, StateRefresher
from services.cg.app.retrieve import Retrieve
from services.cg.app.warm_generators import GeneratorWarmer
from services.cg.config import Config
from services.cg.domain.catalogue import Catalogue
from services.cg.domain.generators.fresh import FreshPins
from services.cg.domain.generators.popular import PopularPins
from services.cg.domain.generators.related import RelatedPins
from services.cg.domain.generators.shopping import NoModelYet
from services.cg.domain.impressions import Impressions
from services.cg.domain.index.live_search import Searches
from services.cg.domain.moved_users import MovedUsers
from services.cg.domain.pin_index import PinIndex
from services.cg.inbound.grpc_server import RetrievalServer
from services.cg.inbound.live_pins import LivePins
from services.cg.inbound.moved_sequences import GROUP, MovedSequences
from services.cg.inbound.released_models import Read, ReleasedModels
from services.cg.inbound.served_pins import ServedPins
from services.cg.outbound.bundle_model_files import (
    read_co_engaged,
    read_contextual,
    read_popular,
    read_related,
    read_shopping,
    read_two_tower,
)
from services.cg.outbound.bundle_plans import DefinitionPlans
from services.cg.outbound.grpc_indexer import GrpcHistories, GrpcUserVectors
from services.cg.outbound.kafka_user_states import KafkaUserStates
from services.cg.outbound.numpy_pin_copies import NumpyPinCopies
from services.cg.outbound.prometheus_index_meter import MetricsIndexMeter
from services.cg.outbound.prometheus_meter import MetricsMeter
from services.cg.outbound.prometheus_state_meter import MetricsStateMeter
from services.cg.ports import Histories, UserVectors

SERVICE = "corkboard.cg.v1.RetrievalService"


def readers(searches: Searches, *, is_state_stored: bool = False) -> Mapping[str, Read]:
    """How each bundle becomes a generator."""
    return {
        "popular": read_popular,
        "co_engaged": read_co_engaged,
        "related": partial(read_related, new_search=searches.new),
        "two_tower": partial(read_two_tower, new_search=searches.new),
        "shopping": partial(read_shopping, new_search=searches.new),
        "contextual": partial(read_contextual, new_search=searches.new, is_state_stored=is_state_stored),
    }


def build(
    config: Config,
    *,
    bus: Bus | None = None,
    histories: Histories | None = None,
    user_vectors: UserVectors | None = None,
    clock: Clock = SYSTEM_CLOCK,
) -> Service:
    """The whole service; tests hand in fakes for what lies outside of it."""
    torch.set_num_threads(config.torch_num_threads)
    shell = Shell("cg", config, CONTRACTS, bus=bus, clock=clock)
    index, catalogue, plans = PinIndex(), Catalogue(), DefinitionPlans()
    searches, copies, index_meter = (
        Searches(config.index_kind),
        NumpyPinCopies(config.state_dir),
        MetricsIndexMeter(shell.metrics),
    )
    impressions = Impressions()
    fresh = FreshPins(
        impressions, explore_share=config.fresh_explore_share, few_impressions=config.fresh_few_impressions
    )
    for generator in (PopularPins(), fresh, RelatedPins(searches.new), NoModelYet()):
        catalogue.put(generator.name, generator.generate)
    patient = histories or _histories(shell, config, READ_WITHIN_S)
    histories = histories or _histories(shell, config, config.history_timeout_s)
    user_vectors = user_vectors or GrpcUserVectors(
        shell.channel(config.indexer_target), timeout_s=config.history_timeout_s
    )
    meter = MetricsMeter(shell.metrics)
    is_state_stored = config.contextual_state == "stored"
    retrieve = Retrieve(
        index, catalogue, plans, histories, user_vectors, meter, clock, always_reads_stored=is_state_stored
    )
    server = RetrievalServer(
        retrieve, config.retrieve_timeout_s, sequence=config.sequence, max_history=config.max_history
    )
    door = shell.grpc_door(
        [(add_RetrievalServiceServicer_to_server, server, SERVICE)],
        {"Retrieve": MethodLimit(timeout_s=config.retrieve_timeout_s)},
    )
    pins = LivePins(shell.bus, index, copies, index_meter, shell.health, clock)
    read_by_name = readers(searches, is_state_stored=is_state_stored)
    released = ReleasedModels(index, catalogue, read_by_name)
    models = _watcher(shell, topics.MODELS_RELEASED, set(read_by_name), released.apply)
    definitions = _watcher(shell, topics.DEFINITIONS_RELEASED, {"definitions"}, plans.apply)
    warmer = GeneratorWarmer(index, catalogue, clock)
    keeper = IndexKeeper(index, catalogue, searches, copies, lambda: pins.is_whole, index_meter, clock)
    side_bus = bus or _side_bus(shell, config)
    states = _states(shell, config, side_bus, patient, index, catalogue, plans) if config.state_refresh_events else []
    served = [_served(side_bus, config, impressions)] if config.fresh_explore_share else []
    return shell.service(parts=[definitions, pins, models, warmer, keeper, *states, *served], doors=[door])


def _histories(shell: Shell, config: Config, timeout_s: float) -> Histories:
    return GrpcHistories(
        shell.channel(config.indexer_target),
        sequence=config.sequence,
        max_events=config.max_history,
        timeout_s=timeout_s,
    )


def _side_bus(shell: Shell, config: Config) -> Bus:
    """Kafka for what retrieval is ready without: its consumers speak of their health to nobody."""
    return KafkaBus(
        config.kafka_bootstrap,
        zone=config.zone,
        instance=config.instance,
        metrics=shell.metrics,
        health=Health(),
        clock=shell.clock,
        group_instance_id=config.group_instance_id,
        security=KafkaSecurity.of(config),
    )


def _served(bus: Bus, config: Config, impressions: Impressions) -> Part:
    """Every process reads all that is served from its start on, so it is a group of its own."""
    served, feeds = ServedPins(impressions), (topics.FEEDS_SERVED,)
    group = f"cg-impressions-{config.instance}"
    return bus.consumer(
        "served pins", feeds, group, served.handle, start_offsets=lambda: bus.end_offsets(feeds), is_patient=True
    )


def _states(
    shell: Shell,
    config: Config,
    bus: Bus,
    histories: Histories,
    index: PinIndex,
    catalogue: Catalogue,
    plans: DefinitionPlans,
) -> list[Part]:
    """The refresh of user states."""
    meter, states = MetricsStateMeter(shell.metrics), KafkaUserStates(shell.producer)
    moved = MovedUsers(config.state_refresh_events, config.state_refresh_delay_s)
    sequences = MovedSequences(moved, lambda: plans.event_types(config.sequence), meter, shell.clock)
    consumer = bus.consumer("moved sequences", (topics.EVENTS_ENRICHED,), GROUP, sequences.handle)
    max_per_s = config.state_refresh_max_per_s
    refresher = StateRefresher(moved, histories, states, index, catalogue, meter, shell.clock, max_per_s=max_per_s)
    return [refresher, consumer]


def _watcher(shell: Shell, topic: Topic, names: set[str], apply: Apply) -> BundleWatcher:
    store = BundleStore(shell.config.bundles_uri)
    return BundleWatcher(
        shell.bus,
        topic,
        decode_release,
        store,
        names,
        apply,
        shell.config.state_dir,
        shell.metrics,
        clock=shell.clock,
        is_required=False,  # a generator without a bundle is named in answers, the others serve
    )
