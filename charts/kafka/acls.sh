#!/usr/bin/env bash
# Made by scripts/access.py from protos/callers.py and protos/topics.py: do not edit.
# For a Kafka without Strimzi: BOOTSTRAP=host:port [CONFIG=admin.properties] [PRINCIPAL=User:CN=] charts/kafka/acls.sh
# It only adds: list what there is with kafka-acls.sh --list, and remove what is not here.
set -euo pipefail
allow() {
  local who=$1; shift
  "${KAFKA_ACLS:-kafka-acls.sh}" --bootstrap-server "$BOOTSTRAP" ${CONFIG:+--command-config "$CONFIG"} \
    --add --allow-principal "${PRINCIPAL:-User:}$who" "$@"
}
allow ingest --operation Read --operation Describe --topic corkboard.definitions.released.v1 --topic corkboard.quota.rules.v1
allow ingest --operation Write --operation Describe --topic corkboard.events.accepted.v1 --topic corkboard.pins.published.v1 --topic corkboard.definitions.released.v1.parked --topic corkboard.quota.rules.v1.parked --topic corkboard.quota.usage.v1
allow enrich --operation Read --operation Describe --topic corkboard.events.accepted.v1 --topic corkboard.pins.published.v1 --topic corkboard.definitions.released.v1 --topic corkboard.quota.rules.v1
allow enrich --operation Write --operation Describe --topic corkboard.events.accepted.v1.parked --topic corkboard.events.enriched.v1 --topic corkboard.pins.published.v1.parked --topic corkboard.pins.enriched.v1 --topic corkboard.definitions.released.v1.parked --topic corkboard.quota.rules.v1.parked --topic corkboard.quota.usage.v1
allow enrich --operation Read --group enrich --group enrich.pins
allow enrich --operation Read --group enrich- --resource-pattern-type prefixed
allow indexer --operation Read --operation Describe --topic corkboard.events.accepted.v1 --topic corkboard.events.enriched.v1 --topic corkboard.pins.enriched.v1 --topic corkboard.embeddings.published.v1 --topic corkboard.feeds.served.v1 --topic corkboard.definitions.released.v1 --topic corkboard.quota.rules.v1
allow indexer --operation Write --operation Describe --topic corkboard.events.accepted.v1.parked --topic corkboard.events.enriched.v1.parked --topic corkboard.pins.enriched.v1.parked --topic corkboard.embeddings.published.v1.parked --topic corkboard.feeds.served.v1.parked --topic corkboard.definitions.released.v1.parked --topic corkboard.quota.rules.v1.parked --topic corkboard.quota.usage.v1
allow indexer --operation Read --group indexer-online- --group indexer-audit- --resource-pattern-type prefixed
allow indexer-lake --operation Read --operation Describe --topic corkboard.events.enriched.v1 --topic corkboard.feeds.served.v1 --topic corkboard.features.served.v1 --topic corkboard.quota.rules.v1 --topic corkboard.quota.usage.v1
allow indexer-lake --operation Write --operation Describe --topic corkboard.events.enriched.v1.parked --topic corkboard.feeds.served.v1.parked --topic corkboard.features.served.v1.parked --topic corkboard.quota.rules.v1.parked --topic corkboard.quota.usage.v1 --topic corkboard.quota.usage.v1.parked
allow indexer-lake --operation Read --group indexer-lake
allow indexer-lake --operation Read --group indexer-lake- --resource-pattern-type prefixed
allow cg --operation Read --operation Describe --topic corkboard.events.enriched.v1 --topic corkboard.pins.enriched.v1 --topic corkboard.feeds.served.v1 --topic corkboard.models.released.v1 --topic corkboard.definitions.released.v1 --topic corkboard.quota.rules.v1
allow cg --operation Write --operation Describe --topic corkboard.events.enriched.v1.parked --topic corkboard.pins.enriched.v1.parked --topic corkboard.embeddings.published.v1 --topic corkboard.feeds.served.v1.parked --topic corkboard.models.released.v1.parked --topic corkboard.definitions.released.v1.parked --topic corkboard.quota.rules.v1.parked --topic corkboard.quota.usage.v1
allow cg --operation Read --group cg- --resource-pattern-type prefixed
allow ranker-root --operation Read --operation Describe --topic corkboard.models.released.v1 --topic corkboard.definitions.released.v1 --topic corkboard.quota.rules.v1
allow ranker-root --operation Write --operation Describe --topic corkboard.features.served.v1 --topic corkboard.models.released.v1.parked --topic corkboard.definitions.released.v1.parked --topic corkboard.quota.rules.v1.parked --topic corkboard.quota.usage.v1
allow ranker-leaf --operation Read --operation Describe --topic corkboard.models.released.v1 --topic corkboard.quota.rules.v1
allow ranker-leaf --operation Write --operation Describe --topic corkboard.models.released.v1.parked --topic corkboard.quota.rules.v1.parked --topic corkboard.quota.usage.v1
allow blender --operation Read --operation Describe --topic corkboard.definitions.released.v1 --topic corkboard.quota.rules.v1
allow blender --operation Write --operation Describe --topic corkboard.feeds.served.v1 --topic corkboard.definitions.released.v1.parked --topic corkboard.quota.rules.v1.parked --topic corkboard.quota.usage.v1
allow quota --operation Read --operation Describe --topic corkboard.quota.rules.v1 --topic corkboard.quota.usage.v1
allow quota --operation Write --operation Describe --topic corkboard.quota.rules.v1 --topic corkboard.quota.rules.v1.parked --topic corkboard.quota.usage.v1 --topic corkboard.quota.usage.v1.parked
allow quota --operation Read --group quota- --resource-pattern-type prefixed
allow people --operation Read --operation Describe --topic corkboard. --resource-pattern-type prefixed
allow people --operation Write --operation Describe --topic corkboard.definitions.released.v1
allow people --operation Read --group corkboard- --resource-pattern-type prefixed
allow jobs --operation Read --operation Describe --topic corkboard. --resource-pattern-type prefixed
allow jobs --operation Write --operation Describe --topic corkboard.embeddings.published.v1 --topic corkboard.models.released.v1
allow jobs --operation Read --group corkboard- --resource-pattern-type prefixed
