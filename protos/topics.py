"""The one list of Kafka topics: every producer, consumer and admin reads it here.

`owner` (who writes) and `consumers` are identities of `protos/callers.py`; "chassis" is every workload.
"""

from chassis.kafka.topic import Topic

DAY_S = 86_400

EVENTS_ACCEPTED = Topic(
    "corkboard.events.accepted.v1",
    key="user bucket",
    value="Arrow batch",
    owner="ingest",
    consumers=("enrich", "indexer"),
    num_partitions=6,  # the same for the consumers of 1, 2, 3 or 6 zones
    retention_s=3 * DAY_S,
)
EVENTS_ENRICHED = Topic(
    "corkboard.events.enriched.v1",
    key="user bucket",
    value="Arrow batch",
    owner="enrich",
    consumers=("indexer", "indexer-lake", "cg"),
    num_partitions=6,  # the same for the consumers of 1, 2, 3 or 6 zones
    retention_s=3 * DAY_S,
)
PINS_PUBLISHED = Topic(
    "corkboard.pins.published.v1",
    key="pin id",
    value="Pin",
    owner="ingest",
    consumers=("enrich",),
    num_partitions=4,
    is_compacted=True,
)
PINS_ENRICHED = Topic(
    "corkboard.pins.enriched.v1",
    key="pin id",
    value="EnrichedPin",
    owner="enrich",
    consumers=("indexer", "cg"),
    num_partitions=4,
    is_compacted=True,
)
EMBEDDINGS_PUBLISHED = Topic(
    "corkboard.embeddings.published.v1",
    key="user id, or user id/encoder",
    value="UserEmbedding",
    owner="cg, jobs",
    consumers=("indexer",),
    num_partitions=4,
    is_compacted=True,
)
FEEDS_SERVED = Topic(
    "corkboard.feeds.served.v1",
    key="user bucket",
    value="ServedFeed",
    owner="blender",
    consumers=("indexer", "indexer-lake", "cg"),
    num_partitions=6,  # the same for the consumers of 1, 2, 3 or 6 zones
    retention_s=7 * DAY_S,
)
FEATURES_SERVED = Topic(
    "corkboard.features.served.v1",
    key="user bucket",
    value="ServedFeatures",
    owner="ranker-root",
    consumers=("indexer-lake",),
    num_partitions=6,  # the same for the consumers of 1, 2, 3 or 6 zones
    retention_s=7 * DAY_S,
)
MODELS_RELEASED = Topic(
    "corkboard.models.released.v1",
    key="model name",
    value="BundleRelease",
    owner="jobs",
    consumers=("cg", "ranker-root", "ranker-leaf"),
    num_partitions=1,
    is_compacted=True,
)
DEFINITIONS_RELEASED = Topic(
    "corkboard.definitions.released.v1",
    key="bundle name",
    value="BundleRelease",
    owner="people",
    consumers=("ingest", "enrich", "indexer", "cg", "ranker-root", "blender"),
    num_partitions=1,
    is_compacted=True,
)
QUOTA_RULES = Topic(
    "corkboard.quota.rules.v1",
    key="rule key",
    value="RuleVersion",
    owner="quota",
    consumers=("chassis",),
    num_partitions=1,
    is_compacted=True,
)
QUOTA_USAGE = Topic(
    "corkboard.quota.usage.v1",
    key="resource",
    value="UsageWindow",
    owner="chassis",
    consumers=("quota", "indexer-lake"),
    num_partitions=4,
    retention_s=7 * DAY_S,
)

ALL: tuple[Topic, ...] = (
    EVENTS_ACCEPTED,
    EVENTS_ENRICHED,
    PINS_PUBLISHED,
    PINS_ENRICHED,
    EMBEDDINGS_PUBLISHED,
    FEEDS_SERVED,
    FEATURES_SERVED,
    MODELS_RELEASED,
    DEFINITIONS_RELEASED,
    QUOTA_RULES,
    QUOTA_USAGE,
)
