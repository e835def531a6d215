"""The whole of blender on one screen: the only file that names concrete classes."""

import secrets

from chassis.bundles import BundleStore, BundleWatcher
from chassis.clock import SYSTEM_CLOCK, Clock
from chassis.grpc.limits import MIB, MethodLimit
from chassis.kafka.bus import Bus
from chassis.lifecycle import Part, Service
from chassis.logs import get_logger
from chassis.metrics import Metrics
from chassis.redis.client import RedisClient
from chassis.redis.security import RedisSecurity
from chassis.shell import Shell
from protos.blender.v1.blender_pb2_grpc import add_BlendServiceServicer_to_server, add_FeedServiceServicer_to_server
from protos.contracts import CONTRACTS
from protos.releases import decode_release
from protos.topics import DEFINITIONS_RELEASED
from sequences.definitions import bundle
from services.blender.app.blend_slate import BlendSlate
from services.blender.app.catalogue import Catalogue
from services.blender.app.explain_feed import ExplainFeed
from services.blender.app.feature_memory import FeatureMemory
from services.blender.app.feature_refresh import FeatureRefresh
from services.blender.app.feed_stages import Memory, Peers, feed_pipelines
from services.blender.app.get_feed import GetFeed
from services.blender.app.popular_memory import PopularMemory
from services.blender.app.popular_refresh import PopularRefresh
from services.blender.app.rehearsal import Rehearsal
from services.blender.app.served_memory import ServedMemory
from services.blender.app.slate_loop import SlateLoop
from services.blender.config import Config
from services.blender.inbound.grpc_server import BlendServicer, FeedServicer
from services.blender.inbound.page_tokens import PageTokens
from services.blender.outbound.grpc_cg import GrpcCandidates
from services.blender.outbound.grpc_indexer import GrpcIndexer
from services.blender.outbound.grpc_ranker import GrpcRanker
from services.blender.outbound.in_memory_served_log import Explanations, QueuedServedLog, Sink
from services.blender.outbound.json_popular_lists import JsonPopularLists
from services.blender.outbound.kafka_served_feeds import KafkaServedFeeds
from services.blender.outbound.redis_explanations import RedisExplanations
from services.blender.outbound.redis_sessions import RedisSessions
from services.blender.ports import SessionStore

FEED_SERVICE = "corkboard.blender.v1.FeedService"
BLEND_SERVICE = "corkboard.blender.v1.BlendService"
SERVED_LINGER_S = 0.1  # of served feeds: this process knows what it showed, the others within two seconds
GRACE_S = 0.75  # stages end within the cap; on a starved machine a late answer is better than an error
LIMITS = {
    "ExplainFeed": MethodLimit(timeout_s=2.0, max_request_bytes=64 * 1024),
    "Blend": MethodLimit(timeout_s=5.0, max_request_bytes=16 * MIB, max_concurrent=16),
}


def build(
    config: Config,
    *,
    bus: Bus | None = None,
    clock: Clock = SYSTEM_CLOCK,
    sessions: SessionStore | None = None,
    explanations: Explanations | None = None,
) -> Service:
    """The service. Peers are real gRPC clients of the configured targets."""
    shell = Shell("blender", config, CONTRACTS, bus=bus, clock=clock, linger_s=SERVED_LINGER_S)
    catalogue = Catalogue(shell.health)
    redis = RedisClient(config.redis_url, security=RedisSecurity.of(config))
    explanations = explanations or RedisExplanations(redis, config.explanation_ttl_s)
    served_log = _served_log(shell, config, explanations)
    indexer = GrpcIndexer(
        shell.channel(config.indexer_target), sequence=config.sequence, max_events=config.read_history
    )
    candidates = GrpcCandidates(shell.channel(config.cg_target))
    memory = Memory(PopularMemory(config.popular_size), ServedMemory(config.num_remembered_users, clock))
    peers = Peers(
        admitter=shell.protection,
        users=indexer,
        candidates=candidates,
        ranker=GrpcRanker(shell.channel(config.ranker_target), clock),
        sessions=sessions or RedisSessions(redis, config.session_ttl_s),
        served_log=served_log,
    )
    slates = SlateLoop(is_compiled=config.compiled_slate)
    features = FeatureMemory(config.num_remembered_pins, config.features_max_age_s, clock)

    def feeds(memory: Memory, features: FeatureMemory, metrics: Metrics, *, is_rehearsed: bool = False) -> GetFeed:
        session_timeout_s = config.session_timeout_ms / 1_000
        found = feed_pipelines(peers, memory, slates, clock=clock, session_timeout_s=session_timeout_s, metrics=metrics)
        return GetFeed(catalogue, indexer, features, found.rehearsed() if is_rehearsed else found, metrics)

    get_feed = feeds(memory, features, shell.metrics)
    rehearsal = Rehearsal(feeds(*_forgotten(config, clock), Metrics("rehearsal"), is_rehearsed=True), catalogue)
    refresh = PopularRefresh(
        candidates,
        memory.popular,
        JsonPopularLists(config.state_dir),
        catalogue,
        clock,
        shell.metrics,
        every_s=config.popular_refresh_s,
        size=config.popular_size,
    )
    feature_refresh = FeatureRefresh(indexer, features, clock, shell.metrics)
    definitions = _definitions(shell, config, catalogue)
    parts: list[Part] = [slates, redis, served_log, definitions, refresh, feature_refresh, rehearsal]
    return shell.service(parts=parts, doors=[_door(shell, config, get_feed, ExplainFeed(explanations), slates)])


def _forgotten(config: Config, clock: Clock) -> tuple[Memory, FeatureMemory]:
    """What a rehearsal learns, and nobody else."""
    memory = Memory(PopularMemory(config.popular_size), ServedMemory(1, clock))
    return memory, FeatureMemory(config.num_remembered_pins, config.features_max_age_s, clock)


def _served_log(shell: Shell, config: Config, explanations: Explanations) -> QueuedServedLog:
    topic = KafkaServedFeeds(shell.producer, source=f"/blender/{config.zone}/{config.instance}")
    sinks = [Sink("explanations", explanations.save)] if config.explain_enabled else []
    sinks.append(Sink("feeds.served", topic.write))
    return QueuedServedLog(sinks, shell.metrics, size=config.served_queue_size, num_workers=config.served_num_workers)


def _definitions(shell: Shell, config: Config, catalogue: Catalogue) -> BundleWatcher:
    return BundleWatcher(
        shell.bus,
        DEFINITIONS_RELEASED,
        decode_release,
        BundleStore(config.bundles_uri),
        {bundle.NAME},
        catalogue.apply,
        config.state_dir,
        shell.metrics,
        clock=shell.clock,
    )


def _door(shell: Shell, config: Config, get_feed: GetFeed, explain_feed: ExplainFeed, slates: SlateLoop) -> Part:
    timeout_s = config.get_feed_timeout_ms / 1_000
    tokens = PageTokens(_token_key(config), config.session_ttl_s, shell.clock)
    feed = FeedServicer(get_feed, explain_feed, tokens, timeout_s, config.answer_margin_ms / 1_000)
    feed_limit = MethodLimit(
        timeout_s=timeout_s + GRACE_S, max_request_bytes=64 * 1024, max_concurrent=config.max_concurrent_feeds
    )
    return shell.grpc_door(
        [
            (add_FeedServiceServicer_to_server, feed, FEED_SERVICE),
            (add_BlendServiceServicer_to_server, BlendServicer(BlendSlate(slates)), BLEND_SERVICE),
        ],
        {"GetFeed": feed_limit, **LIMITS},
    )


def _token_key(config: Config) -> bytes:
    if config.page_token_key:
        return config.page_token_key.encode()
    get_logger(__name__).warning("page_token_key_is_random", effect="page tokens end with this process")
    return secrets.token_bytes(32)
