"""The one list of spans, attributes and edges that traces of Corkboard consist of.

An RPC span is named `<proto service>/<method>`; a Kafka span `send <topic>` or `process <topic>`; a stage of a
pipeline `stage <name>`. `e2e/test_trace_edges.py` asserts that every edge below is seen in a running system.
"""

from dataclasses import dataclass
from enum import Enum

from chassis.kafka.topic import Topic
from protos import topics


class Tie(Enum):
    """How the later span points to the earlier one."""

    PARENT = "parent"
    LINK = "link"
    EITHER = "either"  # parent when one record is handled alone, links when several are handled together


@dataclass(frozen=True)
class Edge:
    """`child_span` of `child` follows `parent_span` of `parent`; an RPC edge passes through the client's own span."""

    parent: str
    parent_span: str
    child: str
    child_span: str
    tie: Tie = Tie.PARENT


RANK_SPAN = "rank candidates"
FLUSH_SPAN = "flush envelope"

PUBLISH_EVENTS = "corkboard.ingest.v1.IngestService/PublishEvents"
PUBLISH_PINS = "corkboard.ingest.v1.IngestService/PublishPins"
GET_FEED = "corkboard.blender.v1.FeedService/GetFeed"
RETRIEVE = "corkboard.cg.v1.RetrievalService/Retrieve"
RANK = "corkboard.ranker.v1.RankingService/Rank"
SCORE = "corkboard.ranker.v1.ScoringService/Score"
GET_USER = "corkboard.indexer.v1.FeatureService/GetUser"
BATCH_GET_PINS = "corkboard.indexer.v1.FeatureService/BatchGetPins"

FEED_STAGES = (
    "admit",
    "hydrate_user",
    "retrieve",
    "drop_seen",
    "drop_blocked",
    "rank",
    "diversify_and_space",
    "cut_page",
    "log",
)


def send(topic: Topic) -> str:
    """Name of the span that sends to `topic`."""
    return f"send {topic.name}"


def process(topic: Topic) -> str:
    """Name of the span that handles records of `topic`."""
    return f"process {topic.name}"


EVENT_EDGES: tuple[Edge, ...] = (
    Edge("ingest", PUBLISH_EVENTS, "ingest", FLUSH_SPAN, Tie.EITHER),
    Edge("ingest", FLUSH_SPAN, "ingest", send(topics.EVENTS_ACCEPTED)),
    Edge("ingest", send(topics.EVENTS_ACCEPTED), "enrich", process(topics.EVENTS_ACCEPTED), Tie.EITHER),
    Edge("enrich", process(topics.EVENTS_ACCEPTED), "indexer", BATCH_GET_PINS),
    Edge("enrich", process(topics.EVENTS_ACCEPTED), "enrich", send(topics.EVENTS_ENRICHED)),
    Edge("enrich", send(topics.EVENTS_ENRICHED), "indexer", process(topics.EVENTS_ENRICHED), Tie.EITHER),
)
PIN_EDGES: tuple[Edge, ...] = (
    Edge("ingest", PUBLISH_PINS, "ingest", send(topics.PINS_PUBLISHED)),
    Edge("ingest", send(topics.PINS_PUBLISHED), "enrich", process(topics.PINS_PUBLISHED), Tie.EITHER),
    Edge("enrich", process(topics.PINS_PUBLISHED), "enrich", send(topics.PINS_ENRICHED)),
    Edge("enrich", send(topics.PINS_ENRICHED), "indexer", process(topics.PINS_ENRICHED), Tie.EITHER),
)
FEED_EDGES: tuple[Edge, ...] = (
    Edge("blender", GET_FEED, "blender", "stage retrieve"),
    Edge("blender", "stage hydrate_user", "indexer", GET_USER),
    Edge("blender", "stage retrieve", "cg", RETRIEVE),
    Edge("blender", "stage rank", "ranker", RANK),
    Edge("ranker", RANK, "ranker", RANK_SPAN),
    Edge("ranker", RANK, "ranker", SCORE),
    Edge("blender", send(topics.FEEDS_SERVED), "indexer", process(topics.FEEDS_SERVED), Tie.EITHER),
)
CLOSING_EDGES: tuple[Edge, ...] = (Edge("ingest", PUBLISH_EVENTS, "ranker", RANK_SPAN, Tie.LINK),)

EDGES: tuple[Edge, ...] = EVENT_EDGES + PIN_EDGES + FEED_EDGES + CLOSING_EDGES
