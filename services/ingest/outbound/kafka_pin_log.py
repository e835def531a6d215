"""Pins to Kafka: a compacted topic, the newest version of an id wins."""

import uuid

from chassis.kafka import cloud_events
from chassis.kafka.bus import Producer
from chassis.kafka.topic import Topic
from protos.pins.v1 import pins_pb2 as pb
from protos.tensors import numpy_to_tensor
from services.ingest.domain.pending_bytes import PendingBytes
from services.ingest.domain.pin import Pin

EVENT_TYPE = "corkboard.pins.published"
CONTENT_TYPE = "application/protobuf"


class KafkaPinLog:
    """One record per pin; the key is the pin id, a deleted pin is a tombstone."""

    def __init__(self, producer: Producer, topic: Topic, pending: PendingBytes) -> None:
        self._producer = producer
        self._topic = topic
        self._pending = pending

    async def publish(self, pin: Pin) -> None:
        """As the port says. Raises: Unavailable, Overloaded when too much waits."""
        value = None if pin.is_deleted else to_message(pin).SerializeToString()
        headers = cloud_events.headers(
            type=EVENT_TYPE, source="ingest", id=uuid.uuid4().hex, schema_version="1", content_type=CONTENT_TYPE
        )
        num_bytes = len(value or b"")
        self._pending.take(num_bytes)
        try:
            await self._producer.send(self._topic, value, key=pin.pin_id.encode(), headers=headers)
        finally:
            self._pending.give_back(num_bytes)


def to_message(pin: Pin) -> pb.Pin:
    """The pin as topics carry it."""
    message = pb.Pin(
        pin_id=pin.pin_id,
        title=pin.title,
        description=pin.description,
        link=pin.link,
        image_url=pin.image_url,
        image=pin.image,
        topics=pin.topics,
        creator_id=pin.creator_id,
        advertiser_id=pin.advertiser_id,
        price_micros=pin.price_micros,
        created_time_ms=pin.created_time_ms,
        locale=pin.locale,
        quality=pin.quality,
        safety_labels=pin.safety_labels,
        content_group=pin.content_group,
        published_time_ms=pin.published_time_ms,
    )
    if pin.given_vector is not None:
        message.given_vector.CopyFrom(numpy_to_tensor(pin.given_vector))
    return message
