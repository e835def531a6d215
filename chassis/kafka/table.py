"""A whole compacted topic in a process: read from the beginning without a group, then followed."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from chassis.deadline import Deadline
from chassis.errors import CorkboardError, Unavailable
from chassis.health import Health
from chassis.kafka.connection import Connection, connect, disconnect, wait_for_topics
from chassis.kafka.record import Record, record_of
from chassis.kafka.topic import Topic
from chassis.logs import get_logger
from chassis.metrics import Metrics
from chassis.tasks import cut

CATCH_UP_WITHIN_S = 20.0
CLOSE_WITHIN_S = 2.0
POLL_MS = 200
YIELD_EVERY = 200  # records applied before others get the loop

Apply = Callable[[Record], Awaitable[None] | None]


class KafkaTable:
    """Every process that has one reads all of the topic; tombstones come as records without a value."""

    def __init__(
        self, name: str, topic: Topic, apply: Apply, *, connection: Connection, metrics: Metrics, health: Health
    ) -> None:
        self.name = name
        self._topic = topic
        self._apply = apply
        self._connection = connection
        self._health = health
        self._why = "not started"
        self._client: AIOKafkaConsumer | None = None
        self._following: asyncio.Task[None] | None = None
        self._applied = metrics.counter("kafka_table_records_total", "Records applied to tables.", ("topic", "outcome"))
        self._log = get_logger(name)

    async def start(self, tasks: asyncio.TaskGroup) -> None:
        """Return when everything that was there at the call has been applied.

        Raises: Unavailable when Kafka or the topic is not there in time; it may be called again.
        """
        is_whole = False
        try:
            async with asyncio.timeout(CATCH_UP_WITHIN_S):
                await wait_for_topics(self._connection, [self._topic], self._say)
                self._client = await self._open()
                await self._catch_up(self._client)
            is_whole = True
        except (TimeoutError, KafkaError, OSError) as error:
            raise Unavailable(f"{self._topic.name} was not read in {CATCH_UP_WITHIN_S:.0f} s: {self._why}") from error
        finally:
            if not is_whole:
                await self._close()
        self._following = tasks.create_task(self._follow(self._client))

    async def stop(self, deadline: Deadline) -> None:
        """Stop following."""
        following, self._following = self._following, None
        if following is not None:
            await cut([following])
        await self._close(deadline.remaining_s())

    def _say(self, why: str) -> None:
        self._why = why

    async def _open(self) -> AIOKafkaConsumer:
        client = AIOKafkaConsumer(**self._connection.consumer(self.name))
        self._client = client
        await connect(client)
        partitions = [TopicPartition(self._topic.name, number) for number in range(self._topic.num_partitions)]
        client.assign(partitions)
        await client.seek_to_beginning(*partitions)
        return client

    async def _catch_up(self, client: AIOKafkaConsumer) -> None:
        self._why = "still reading"
        ends = await client.end_offsets(list(client.assignment()))
        while any([await client.position(partition) < end for partition, end in ends.items()]):
            await self._read(client)

    async def _follow(self, client: AIOKafkaConsumer) -> None:
        while True:
            try:
                await self._read(client)
            except (KafkaError, OSError) as error:
                self._log.warning("reading goes on later", error=repr(error))
                await asyncio.sleep(POLL_MS / 1000)

    async def _read(self, client: AIOKafkaConsumer) -> None:
        count = 0
        for records in (await client.getmany(timeout_ms=POLL_MS)).values():
            for record in records:
                await self._apply_one(record_of(record))
                count += 1
                if count % YIELD_EVERY == 0:
                    await asyncio.sleep(0)

    async def _apply_one(self, record: Record) -> None:
        """A record that cannot be applied is counted and named; the table keeps what it had."""
        try:
            result = self._apply(record)
            if inspect.isawaitable(result):
                await result
            self._applied.labels(self._topic.name, "applied").inc()
        except asyncio.CancelledError:
            raise
        except Exception as error:  # an edge: one bad record must not stop every process that reads the topic
            self._applied.labels(self._topic.name, "refused").inc()
            words = error.message if isinstance(error, CorkboardError) else repr(error)
            self._log.warning("a record was not applied", offset=record.offset, partition=record.partition, error=words)

    async def _close(self, within_s: float = CLOSE_WITHIN_S) -> None:
        client, self._client = self._client, None
        if client is not None:
            await disconnect(client, min(within_s, CLOSE_WITHIN_S))
