"""Builds the service in one of its two roles: the only file that names concrete classes.

A root must not load torch: it is many and small. So what only a leaf needs is imported inside of its function.
"""

from chassis.bundles import BundleStore, BundleWatcher
from chassis.bundles.watcher import Apply
from chassis.clock import SYSTEM_CLOCK, Clock
from chassis.grpc.limits import MIB, MethodLimit
from chassis.kafka.bus import Bus
from chassis.kafka.topic import Topic
from chassis.lifecycle import Service
from chassis.shell import Shell
from protos import topics
from protos.contracts import CONTRACTS
from protos.ranker.v1.ranker_pb2_grpc import (
    add_RankingServiceServicer_to_server,
    add_ScoringServiceServicer_to_server,
)
from protos.releases import decode_release
from services.ranker.app.rank import Rank
from services.ranker.app.trimming import Trimming
from services.ranker.config import Config
from services.ranker.inbound.grpc_root import RankingServer
from services.ranker.inbound.released_signatures import SignatureReleases
from services.ranker.outbound.bundle_weights import DefinitionWeights
from services.ranker.outbound.grpc_indexer import GrpcPinFeatures, GrpcSequences
from services.ranker.outbound.grpc_leaf import GrpcScorer
from services.ranker.outbound.in_memory_pin_cache import CachedPinFeatures
from services.ranker.outbound.in_memory_pin_refresh import PinRefresh
from services.ranker.outbound.kafka_served_features import KafkaFeatureLog
from services.ranker.outbound.prometheus_leaf_meter import BatchMetrics, ContextMetrics, ShadowMetrics
from services.ranker.outbound.prometheus_meter import MetricsMeter
from services.ranker.outbound.prometheus_trim_meter import TrimMetrics
from services.ranker.ports import PinFeatureStore, Scorer, Sequences

ROOT_SERVICE = "corkboard.ranker.v1.RankingService"
LEAF_SERVICE = "corkboard.ranker.v1.ScoringService"
MAX_SCORE_BYTES = 16 * MIB  # 2,000 candidates × 512 floats are 4 MB


def build(
    config: Config,
    *,
    bus: Bus | None = None,
    sequences: Sequences | None = None,
    pins: PinFeatureStore | None = None,
    scorer: Scorer | None = None,
    clock: Clock = SYSTEM_CLOCK,
) -> Service:
    """The whole service in its configured role; tests hand in fakes for what lies outside of it."""
    shell = Shell("ranker", config, CONTRACTS, bus=bus, clock=clock)
    if config.role == "leaf":
        return _build_leaf(config, shell)
    return _build_root(config, shell, sequences, pins, scorer)


def _build_root(
    config: Config, shell: Shell, sequences: Sequences | None, pins: PinFeatureStore | None, scorer: Scorer | None
) -> Service:
    if sequences is None or pins is None:
        indexer = shell.channel(config.indexer_target)
        sequences = sequences or GrpcSequences(
            indexer, sequence=config.sequence, max_events=config.read_history, timeout_s=config.read_timeout_s
        )
        pins = pins or GrpcPinFeatures(indexer, timeout_s=config.read_timeout_s)
    if scorer is None:
        pools = {model: shell.channel(target) for model, target in config.leaf_targets.items()}
        scorer = GrpcScorer(pools, timeout_s=config.leaf_timeout_s)
    cached = CachedPinFeatures(
        pins, shell.metrics, shell.clock, max_pins=config.pin_cache_max_pins, max_age_s=config.pin_cache_max_age_s
    )
    trimming = Trimming(TrimMetrics(shell.metrics, shell.clock), shell.clock)
    weights = DefinitionWeights()
    feature_log = KafkaFeatureLog(
        shell.producer,
        shell.metrics,
        f"/ranker/{config.zone}/{config.instance}",
        share=config.feature_log_share,
        max_candidates=config.feature_log_max_candidates,
    )
    rank = Rank(
        sequences,
        cached,
        scorer,
        weights,
        trimming,
        MetricsMeter(shell.metrics),
        feature_log,
        shell.clock,
        model=config.model_names[0],
        model_by_surface=config.models_of_surfaces,
        max_history=config.max_history,
        newest_history=config.newest_history,
    )
    server = RankingServer(rank, config.rank_timeout_s, sequence=config.sequence, max_events=config.read_history)
    door = shell.grpc_door(
        [(add_RankingServiceServicer_to_server, server, ROOT_SERVICE)],
        {"Rank": MethodLimit(timeout_s=config.rank_timeout_s)},
    )
    lists = SignatureReleases(trimming).apply
    models = [_watcher(shell, topics.MODELS_RELEASED, {name}, lists, is_required=False) for name in config.model_names]
    definitions = _watcher(shell, topics.DEFINITIONS_RELEASED, {"definitions"}, weights.apply)
    return shell.service(
        parts=[definitions, *models, feature_log, PinRefresh(cached, shell.clock, shell.metrics)], doors=[door]
    )


def _build_leaf(config: Config, shell: Shell) -> Service:
    import torch

    from modeling.dcat.context import Context
    from modeling.dcat.context_cache import ContextCache
    from services.ranker.app.batching import Batcher
    from services.ranker.app.score import HostedModels, Score
    from services.ranker.app.shadow import Shadows
    from services.ranker.inbound.grpc_leaf import ScoringServer
    from services.ranker.inbound.released_models import HostReleases
    from services.ranker.outbound.bundle_model_files import read_ranker

    torch.set_num_threads(config.torch_num_threads)
    models = HostedModels({*config.model_names, *config.shadow_names})
    contexts: ContextCache[Context] = ContextCache(config.context_cache_max_bytes, ContextMetrics(shell.metrics))
    batcher = Batcher(
        BatchMetrics(shell.metrics),
        contexts,
        wait_s=config.batch_wait_s,
        max_rows=config.batch_max_rows,
        max_waiting=config.batch_max_waiting,
    )
    shadows = Shadows(config.shadow_names, models.current, ShadowMetrics(shell.metrics), share=config.shadow_share)
    server = ScoringServer(Score(models, batcher, shadows), shell.metrics)
    door = shell.grpc_door(
        [(add_ScoringServiceServicer_to_server, server, LEAF_SERVICE)],
        {"Score": MethodLimit(timeout_s=config.rank_timeout_s, max_request_bytes=MAX_SCORE_BYTES)},
    )
    host = HostReleases(models, read_ranker).apply
    releases = _watcher(shell, topics.MODELS_RELEASED, set(config.model_names), host)
    trials = [_watcher(shell, topics.MODELS_RELEASED, {name}, host, is_required=False) for name in config.shadow_names]
    return shell.service(parts=[releases, *trials, batcher, shadows], doors=[door])


def _watcher(shell: Shell, topic: Topic, names: set[str], apply: Apply, *, is_required: bool = True) -> BundleWatcher:
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
        is_required=is_required,
    )
