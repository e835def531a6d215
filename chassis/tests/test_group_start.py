"""A group begins where it was put, and topics that nobody needs go."""

import asyncio
import contextlib
import time
import uuid

import pytest

from chassis.kafka import connection
from chassis.kafka.admin import ensure_topics
from chassis.kafka.connection import Connection, missing_topics
from chassis.kafka.group_start import delete_topics, offsets_since, start_group_at
from chassis.kafka.topic import Topic
from corkboard.local.kafka_server import KafkaServer

pytestmark = pytest.mark.servers


async def test_a_group_starts_at_a_time_and_a_topic_goes(kafka: KafkaServer) -> None:
    from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

    connection = Connection(kafka.address, "", "test")
    topic = Topic(f"starts.{uuid.uuid4().hex}", "k", "v", "test", ("test",), num_partitions=2)
    await ensure_topics(connection, [topic])
    producer = AIOKafkaProducer(**connection.client("test"))
    await producer.start()
    now_ms = time.time_ns() // 1_000_000
    try:
        for number in range(10):
            await producer.send_and_wait(topic.name, str(number).encode(), partition=0, timestamp_ms=now_ms + number)
    finally:
        await producer.stop()
    assert await offsets_since(connection, topic, now_ms + 4) == {0: 4, 1: 0}
    await start_group_at(connection, [topic], "placed", now_ms + 7)
    consumer = AIOKafkaConsumer(topic.name, **connection.member("test", "placed"))
    await consumer.start()
    try:
        async with asyncio.timeout(20):
            assert [(await consumer.getone()).value for _ in range(3)] == [b"7", b"8", b"9"]
    finally:
        await consumer.stop()
    await delete_topics(connection, [topic])
    async with asyncio.timeout(10):
        while not await missing_topics(connection, [topic]):
            await asyncio.sleep(0.1)
    await delete_topics(connection, [topic])


class SwallowingAdmin:
    """Closes as aiokafka's client does: who is cancelled meanwhile never learns of it."""

    def __init__(self, **_: object) -> None:
        pass

    async def start(self) -> None: ...

    async def list_topics(self) -> list[str]:
        return []

    async def close(self) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(0.2)


async def test_a_cancel_that_comes_while_the_client_closes_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "AIOKafkaAdminClient", SwallowingAdmin)
    looking = asyncio.create_task(missing_topics(Connection("nowhere:1", "a", "test"), []))
    await asyncio.sleep(0.05)
    looking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await looking
