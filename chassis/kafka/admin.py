"""Creates the topics of a list where they are missing."""

import asyncio
from collections.abc import Sequence

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from chassis.errors import Unavailable
from chassis.kafka.connection import Connection, connect, disconnect, missing_topics
from chassis.kafka.producer import MAX_REQUEST_BYTES
from chassis.kafka.topic import Topic

VISIBLE_WITHIN_S = 10.0
CLOSE_WITHIN_S = 2.0
POLL_S = 0.1


async def ensure_topics(connection: Connection, topics: Sequence[Topic], replication: int = 1) -> None:
    """Create missing topics; return when Kafka knows them all.

    Raises: Unavailable when Kafka cannot be reached or refuses.
    """
    missing = set(await missing_topics(connection, topics))
    if not missing:
        return
    admin = AIOKafkaAdminClient(**connection.client("admin"))
    try:
        await connect(admin)
        answer = await admin.create_topics([_new(topic, replication) for topic in topics if topic.name in missing])
        _check(answer.topic_errors)
    except (KafkaError, OSError) as error:
        raise Unavailable(f"topics could not be created: {error}") from error
    finally:
        await admin.close()
    await _until_visible(connection, topics)


async def end_offsets(connection: Connection, topics: Sequence[Topic]) -> dict[tuple[str, int], int]:
    """The offset after the last record of each partition of `topics`. Raises: Unavailable."""
    client = AIOKafkaConsumer(**connection.consumer("end-offsets"))
    try:
        await connect(client)
        partitions = [TopicPartition(topic.name, number) for topic in topics for number in range(topic.num_partitions)]
        ends = await client.end_offsets(partitions)
    except (KafkaError, OSError) as error:
        raise Unavailable(f"end offsets could not be read: {type(error).__name__}: {error}") from error
    finally:
        await disconnect(client, CLOSE_WITHIN_S)
    return {(one.topic, one.partition): offset for one, offset in ends.items()}


def topic_settings(topic: Topic, replication: int) -> dict[str, str]:
    """Kafka's settings of the topic."""
    settings = {"min.insync.replicas": str(max(1, replication - 1)), "max.message.bytes": str(MAX_REQUEST_BYTES)}
    if topic.is_compacted:
        return settings | {"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.1", "segment.ms": "3600000"}
    return settings | {"retention.ms": str(topic.retention_s * 1000)}


def _new(topic: Topic, replication: int) -> NewTopic:
    settings = topic_settings(topic, replication)
    return NewTopic(topic.name, topic.num_partitions, replication, topic_configs=settings)


def _check(topic_errors: Sequence[Sequence[object]]) -> None:
    for name, code, *_ in topic_errors:
        error = for_code(code)
        if code and error is not TopicAlreadyExistsError:
            raise Unavailable(f"topic {name} could not be created: {error.__name__}")


async def _until_visible(connection: Connection, topics: Sequence[Topic]) -> None:
    try:
        async with asyncio.timeout(VISIBLE_WITHIN_S):
            while await missing_topics(connection, topics):
                await asyncio.sleep(POLL_S)
    except TimeoutError as error:
        raise Unavailable(f"created topics were not visible after {VISIBLE_WITHIN_S:.0f} s") from error
