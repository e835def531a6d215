"""Where a group begins that must not begin at the beginning, and topics that are not needed any more."""

from collections.abc import Sequence

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from chassis.errors import Unavailable
from chassis.kafka.connection import Connection, connect, disconnect
from chassis.kafka.topic import Topic

CLOSE_WITHIN_S = 2.0


async def start_group_at(connection: Connection, topics: Sequence[Topic], group: str, since_ms: int) -> None:
    """Commit, for a group that has no members, the first offsets of records since this time. Raises: Unavailable."""
    client = AIOKafkaConsumer(**connection.consumer("group-start"), group_id=group)
    try:
        await connect(client)
        for topic in topics:
            offsets = await _offsets_since(client, topic, since_ms)
            client.assign(list(offsets))
            await client.commit(offsets)
    except (KafkaError, OSError) as error:
        raise Unavailable(f"group {group} could not be placed: {type(error).__name__}: {error}") from error
    finally:
        await disconnect(client, CLOSE_WITHIN_S)


async def offsets_since(connection: Connection, topic: Topic, since_ms: int) -> dict[int, int]:
    """Partition -> offset of the first record since this time, or the end. Raises: Unavailable."""
    client = AIOKafkaConsumer(**connection.consumer("offsets-since"))
    try:
        await connect(client)
        return {one.partition: offset for one, offset in (await _offsets_since(client, topic, since_ms)).items()}
    except (KafkaError, OSError) as error:
        raise Unavailable(f"offsets of {topic.name} could not be read: {type(error).__name__}: {error}") from error
    finally:
        await disconnect(client, CLOSE_WITHIN_S)


async def delete_topics(connection: Connection, topics: Sequence[Topic]) -> None:
    """Forget the topics and what is in them; unknown ones are no error. Raises: Unavailable."""
    admin = AIOKafkaAdminClient(**connection.client("admin"))
    try:
        await connect(admin)
        known = set(await admin.list_topics())
        if wanted := [topic.name for topic in topics if topic.name in known]:
            await admin.delete_topics(wanted)
    except (KafkaError, OSError) as error:
        raise Unavailable(f"topics could not be deleted: {error}") from error
    finally:
        await admin.close()


async def _offsets_since(client: AIOKafkaConsumer, topic: Topic, since_ms: int) -> dict[TopicPartition, int]:
    partitions = [TopicPartition(topic.name, number) for number in range(topic.num_partitions)]
    found = await client.offsets_for_times(dict.fromkeys(partitions, since_ms))
    ends = await client.end_offsets(partitions)
    return {one: found[one].offset if found.get(one) else ends[one] for one in partitions}
