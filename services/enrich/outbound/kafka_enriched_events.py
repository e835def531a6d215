"""Enriched events to Kafka, on the partition they came from."""

import uuid

import pyarrow as pa

from chassis.kafka import arrow, cloud_events
from chassis.kafka.bus import Producer
from chassis.kafka.topic import Topic
from protos import event_schema

EVENT_TYPE = "corkboard.events.enriched"


class KafkaEnrichedEvents:
    """One record per envelope."""

    def __init__(self, producer: Producer, topic: Topic) -> None:
        self._producer = producer
        self._topic = topic

    async def publish(self, partition: int, batch: pa.RecordBatch) -> None:
        """As the port says."""
        headers = cloud_events.headers(
            type=EVENT_TYPE,
            source="enrich",
            id=uuid.uuid4().hex,
            schema_version=event_schema.SCHEMA_VERSION,
            content_type=event_schema.CONTENT_TYPE,
        )
        await self._producer.send(
            self._topic, arrow.encode(batch), key=str(partition).encode(), partition=partition, headers=headers
        )
