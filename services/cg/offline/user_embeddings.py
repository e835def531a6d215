"""Publishes the vector of every user, so that retrieval has something when a sequence cannot be read."""

import asyncio
from collections.abc import Iterable, Sequence

from chassis.clock import Clock
from chassis.deadline import Deadline
from chassis.kafka.bus import Bus, Producer
from modeling.arrays import Floats
from modeling.release import STOP_S
from protos.indexer.v1.indexer_pb2 import UserEmbedding, UserVector
from protos.tensors import numpy_to_tensor
from protos.topics import EMBEDDINGS_PUBLISHED

ENCODER = "two_tower"
CHUNK = 256  # records on their way at once; a producer batches them


async def publish(bus: Bus, user_ids: Sequence[str], user_UV: Floats, encoder_version: str, clock: Clock) -> None:
    """One record per user; returns when all replicas have them. Raises: Unavailable."""
    producer = bus.producer()
    computed_time_ms = clock.now_ms()
    async with asyncio.TaskGroup() as tasks:
        await producer.start(tasks)
        try:
            for start in range(0, len(user_ids), CHUNK):
                users = range(start, min(start + CHUNK, len(user_ids)))
                messages = [_embedding(user_ids[u], user_UV[u], encoder_version, computed_time_ms) for u in users]
                await _send_all(producer, messages)
        finally:
            await producer.stop(Deadline.after(STOP_S, clock))


async def _send_all(producer: Producer, messages: Iterable[UserEmbedding]) -> None:
    async with asyncio.TaskGroup() as sends:
        for message in messages:
            value, key = message.SerializeToString(), message.user_id.encode()
            sends.create_task(producer.send(EMBEDDINGS_PUBLISHED, value, key=key))


def _embedding(user_id: str, vector: Floats, encoder_version: str, computed_time_ms: int) -> UserEmbedding:
    stored = UserVector(
        encoder=ENCODER,
        encoder_version=encoder_version,
        vector=numpy_to_tensor(vector),
        computed_time_ms=computed_time_ms,
    )
    return UserEmbedding(user_id=user_id, vector=stored)
