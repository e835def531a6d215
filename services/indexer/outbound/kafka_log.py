"""Reads a stretch of a topic by offsets, without a group: who consumes the topic is not disturbed."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from chassis.errors import Unavailable
from chassis.kafka.connection import Connection, connect, disconnect
from chassis.kafka.record import Record, record_of
from chassis.kafka.security import PLAINTEXT, KafkaSecurity
from chassis.kafka.topic import Topic
from services.indexer.domain.rebuild_progress import Stretch

POLL_MS = 200
MAX_RECORDS = 500
STALLED_POLLS = 150  # 30 s without a record, although some are left
CLOSE_WITHIN_S = 2.0


class KafkaLog:
    """Of one cluster, from one zone."""

    def __init__(self, bootstrap: str, zone: str, security: KafkaSecurity = PLAINTEXT) -> None:
        self._connection = Connection(bootstrap, zone, "indexer-offline", security=security)

    async def stretches(self, topic: Topic, next_offsets: Mapping[int, int]) -> list[Stretch]:
        """From these offsets, or the beginning, to where each partition ends now. Raises: Unavailable.

        An offset after the end is of a topic that was made anew: all of it is read.
        """
        partitions = [TopicPartition(topic.name, number) for number in range(topic.num_partitions)]
        async with self._client() as client:
            first, ends = await client.beginning_offsets(partitions), await client.end_offsets(partitions)
        found = []
        for one in partitions:
            wanted = next_offsets.get(one.partition, first[one])
            begin = first[one] if wanted > ends[one] else max(wanted, first[one])
            found.append(Stretch(one.partition, begin, ends[one], max(0, first[one] - wanted)))
        return found

    async def read(self, topic: Topic, stretches: Sequence[Stretch]) -> AsyncGenerator[list[Record], None]:
        """Records in order within each partition, then nothing more. Raises: Unavailable."""
        left = {TopicPartition(topic.name, one.partition): one for one in stretches if one.begin < one.end}
        if not left:
            return
        num_empty = 0
        async with self._client() as client:
            client.assign(list(left))
            for partition, stretch in left.items():
                client.seek(partition, stretch.begin)
            while left:
                fetched = await client.getmany(*left, timeout_ms=POLL_MS, max_records=MAX_RECORDS)
                for partition, records in fetched.items():
                    if inside := [record_of(one) for one in records if one.offset < left[partition].end]:
                        yield inside
                # By position, not by record: the last ones may have been compacted away.
                left = {one: each for one, each in left.items() if await client.position(one) < each.end}
                num_empty = 0 if fetched else num_empty + 1
                if num_empty >= STALLED_POLLS:
                    raise Unavailable(f"{topic.name} gave no record in {num_empty * POLL_MS / 1000:.0f} s")

    @asynccontextmanager
    async def _client(self) -> AsyncIterator[AIOKafkaConsumer]:
        client = AIOKafkaConsumer(**self._connection.consumer("log"))
        try:
            await connect(client)
            yield client
        except (KafkaError, OSError) as error:
            raise Unavailable(f"Kafka at {self._connection.bootstrap}: {type(error).__name__}: {error}") from error
        finally:
            await disconnect(client, CLOSE_WITHIN_S)
