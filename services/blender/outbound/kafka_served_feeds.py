"""Served feeds to topic feeds.served, the users of one bucket in one partition."""

from chassis.kafka import cloud_events
from chassis.kafka.bus import Producer
from chassis.kafka.partitioner import partition_for
from protos.topics import FEEDS_SERVED
from services.blender.domain.served_feed import ServedFeed

EVENT_TYPE = "corkboard.blender.v1.ServedFeed"


class KafkaServedFeeds:
    """Sends; the record is there when `write` returns."""

    def __init__(self, producer: Producer, source: str) -> None:
        self._producer, self._source = producer, source

    async def write(self, feed: ServedFeed, encoded: bytes) -> None:
        """Raises: Unavailable."""
        bucket = partition_for(feed.user_id, FEEDS_SERVED.num_partitions)
        await self._producer.send(
            FEEDS_SERVED,
            encoded,
            key=str(bucket).encode(),
            partition=bucket,
            headers=cloud_events.headers(EVENT_TYPE, self._source, feed.request_id, "1", "application/protobuf"),
        )
