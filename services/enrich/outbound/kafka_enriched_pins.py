"""Enriched pins to Kafka: a compacted topic by pin id."""

import uuid

import numpy as np

from chassis.kafka import cloud_events
from chassis.kafka.bus import Producer
from chassis.kafka.topic import Topic
from protos.pins.v1 import pins_pb2 as pb
from protos.tensors import numpy_to_tensor
from services.enrich.domain.pin import EnrichedPin

EVENT_TYPE = "corkboard.pins.enriched"
CONTENT_TYPE = "application/protobuf"


class KafkaEnrichedPins:
    """One record per pin; None is a tombstone."""

    def __init__(self, producer: Producer, topic: Topic) -> None:
        self._producer = producer
        self._topic = topic

    async def publish(self, pin: EnrichedPin) -> None:
        """As the port says."""
        await self._send(pin.published.pin_id, to_message(pin).SerializeToString())

    async def delete(self, pin_id: str) -> None:
        """As the port says."""
        await self._send(pin_id, None)

    async def _send(self, pin_id: str, value: bytes | None) -> None:
        headers = cloud_events.headers(
            type=EVENT_TYPE, source="enrich", id=uuid.uuid4().hex, schema_version="1", content_type=CONTENT_TYPE
        )
        await self._producer.send(self._topic, value, key=pin_id.encode(), headers=headers)


def to_message(pin: EnrichedPin) -> pb.EnrichedPin:
    """The pin as the topic carries it; the published part byte for byte."""
    return pb.EnrichedPin(
        pin=pb.Pin.FromString(pin.published.payload),
        content_vector=numpy_to_tensor(np.asarray(pin.content_vector, np.float32)),
        content_vector_version=pin.content_vector_version,
        quality_score=pin.quality_score,
        enriched_time_ms=pin.enriched_time_ms,
        definitions_version=pin.definitions_version,
        semantic_id=pin.semantic_id,
    )
