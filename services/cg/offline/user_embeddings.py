"""Publishes vectors and hidden states of every user, so that retrieval has something when a sequence cannot be read."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from chassis.clock import Clock
from chassis.deadline import Deadline
from chassis.kafka.bus import Bus, Producer
from modeling.arrays import Floats
from modeling.release import STOP_S
from protos.indexer.v1.indexer_pb2 import UserEmbedding, UserVector
from protos.tensors import numpy_to_tensor
from protos.topics import EMBEDDINGS_PUBLISHED

CHUNK = 256  # records on their way at once; a producer batches them


@dataclass(frozen=True)
class Encoded:
    """What one encoder version made of every user: vectors or hidden states [U, D]."""

    encoder: str
    encoder_version: str
    user_ids: Sequence[str]
    vector_UD: Floats


async def publish(bus: Bus, encoded: Encoded, clock: Clock) -> None:
    """One record per user; returns when all replicas have them. Raises: Unavailable."""
    producer = bus.producer()
    computed_time_ms = clock.now_ms()
    async with asyncio.TaskGroup() as tasks:
        await producer.start(tasks)
        try:
            for start in range(0, len(encoded.user_ids), CHUNK):
                users = range(start, min(start + CHUNK, len(encoded.user_ids)))
                messages = [_embedding(encoded, user, computed_time_ms) for user in users]
                await _send_all(producer, messages)
        finally:
            await producer.stop(Deadline.after(STOP_S, clock))


async def _send_all(producer: Producer, messages: Iterable[UserEmbedding]) -> None:
    async with asyncio.TaskGroup() as sends:
        for message in messages:
            value, key = message.SerializeToString(), key_of(message)
            sends.create_task(producer.send(EMBEDDINGS_PUBLISHED, value, key=key))


def key_of(message: UserEmbedding) -> bytes:
    """User and encoder: the topic is compacted, and one encoder's vector must not take the other's away.

    Vectors of `two_tower` keep the plain user id, so that they replace what was published before there were others.
    """
    user_id, encoder = message.user_id, message.vector.encoder
    return (user_id if encoder == "two_tower" else f"{user_id}/{encoder}").encode()


def _embedding(encoded: Encoded, user: int, computed_time_ms: int) -> UserEmbedding:
    stored = UserVector(
        encoder=encoded.encoder,
        encoder_version=encoded.encoder_version,
        vector=numpy_to_tensor(encoded.vector_UD[user]),
        computed_time_ms=computed_time_ms,
    )
    return UserEmbedding(user_id=encoded.user_ids[user], vector=stored)
