"""Builds the service: the only file that names concrete classes."""

from collections.abc import Mapping

import torch

from chassis.bundles import BundleStore, BundleWatcher
from chassis.bundles.watcher import Apply
from chassis.clock import SYSTEM_CLOCK, Clock
from chassis.grpc.limits import MethodLimit
from chassis.kafka.bus import Bus
from chassis.kafka.topic import Topic
from chassis.lifecycle import Service
from chassis.patience import Patient
from chassis.shell import Shell
from protos import topics
from protos.cg.v1.cg_pb2_grpc import add_RetrievalServiceServicer_to_server
from protos.contracts import CONTRACTS
from protos.releases import decode_release
from services.cg.app.retrieve import Retrieve
from services.cg.app.warm_generators import GeneratorWarmer
from services.cg.config import Config
from services.cg.domain.catalogue import Catalogue
from services.cg.domain.generators.fresh import FreshPins
from services.cg.domain.generators.popular import PopularPins
from services.cg.domain.generators.related import RelatedPins
from services.cg.domain.pin_index import PinIndex
from services.cg.inbound.grpc_server import RetrievalServer
from services.cg.inbound.live_pins import LivePins
from services.cg.inbound.released_models import Read, ReleasedModels
from services.cg.outbound.bundle_model_files import read_co_engaged, read_contextual, read_popular, read_two_tower
from services.cg.outbound.bundle_plans import DefinitionPlans
from services.cg.outbound.grpc_indexer import GrpcHistories, GrpcUserVectors
from services.cg.outbound.prometheus_meter import MetricsMeter
from services.cg.ports import Histories, UserVectors

SERVICE = "corkboard.cg.v1.RetrievalService"
READERS: Mapping[str, Read] = {
    "popular": read_popular,
    "co_engaged": read_co_engaged,
    "two_tower": read_two_tower,
    "contextual": read_contextual,
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
    for generator in (PopularPins(), FreshPins(), RelatedPins()):
        catalogue.put(generator.name, generator.generate)
    if histories is None or user_vectors is None:
        indexer = shell.channel(config.indexer_target)
        histories = histories or GrpcHistories(
            indexer, sequence=config.sequence, max_events=config.max_history, timeout_s=config.history_timeout_s
        )
        user_vectors = user_vectors or GrpcUserVectors(indexer, timeout_s=config.history_timeout_s)
    meter = MetricsMeter(shell.metrics)
    retrieve = Retrieve(index, catalogue, plans, histories, user_vectors, meter, clock)
    server = RetrievalServer(retrieve, config.retrieve_timeout_s)
    door = shell.grpc_door(
        [(add_RetrievalServiceServicer_to_server, server, SERVICE)],
        {"Retrieve": MethodLimit(timeout_s=config.retrieve_timeout_s)},
    )
    table = shell.bus.table("live pins", topics.PINS_ENRICHED, LivePins(index, shell.metrics).apply)
    pins = Patient(table, shell.health, clock)
    models = _watcher(shell, topics.MODELS_RELEASED, set(READERS), ReleasedModels(index, catalogue, READERS).apply)
    definitions = _watcher(shell, topics.DEFINITIONS_RELEASED, {"definitions"}, plans.apply)
    warmer = GeneratorWarmer(index, catalogue, clock)
    return shell.service(parts=[definitions, pins, models, warmer], doors=[door])


def _watcher(shell: Shell, topic: Topic, names: set[str], apply: Apply) -> BundleWatcher:
    store = BundleStore(shell.config.bundles_uri)
    return BundleWatcher(
        shell.bus, topic, decode_release, store, names, apply, shell.config.state_dir, shell.metrics, clock=shell.clock
    )
