"""Publishes vectors and hidden states of every user, so that retrieval has something when a sequence cannot be read."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from chassis.clock import Clock
from chassis.deadline import Deadline
from chassis.kafka.bus import Bus
from modeling.arrays import Floats
from modeling.release import STOP_S
from services.cg.domain.retrieval import StoredVector
from services.cg.outbound.kafka_user_states import KafkaUserStates

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
    async with asyncio.TaskGroup() as tasks:
        await producer.start(tasks)
        try:
            states, now_ms, num_users = KafkaUserStates(producer), clock.now_ms(), len(encoded.user_ids)
            for start in range(0, num_users, CHUNK):
                await _send_all(states, encoded, range(start, min(start + CHUNK, num_users)), now_ms)
        finally:
            await producer.stop(Deadline.after(STOP_S, clock))


async def _send_all(states: KafkaUserStates, encoded: Encoded, users: Iterable[int], now_ms: int) -> None:
    async with asyncio.TaskGroup() as sends:
        for user in users:
            stored = StoredVector(encoded.encoder_version, encoded.vector_UD[user])
            sends.create_task(states.publish(encoded.user_ids[user], encoded.encoder, stored, now_ms))
