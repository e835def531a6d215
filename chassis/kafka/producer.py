"""Sends records so that returning means every replica has them."""

import asyncio
from collections.abc import Mapping

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError

from chassis import tracing
from chassis.deadline import Deadline
from chassis.errors import Invalid, Unavailable
from chassis.kafka.connection import Connection
from chassis.kafka.record import byte_headers
from chassis.kafka.topic import Topic
from chassis.metrics import Metrics

ACK_WITHIN_S = 5.0  # the longest that a caller waits; a broker's restart takes 2 to 4 s
CONNECT_RETRY_S = 0.5
RETRY_AFTER_S = 1.0
MAX_REQUEST_BYTES = 8 << 20
MAX_BATCH_BYTES = 1 << 20


class KafkaProducer:
    """One idempotent producer. It connects in the background, so that a start does not need Kafka."""

    name = "kafka producer"

    def __init__(self, connection: Connection, metrics: Metrics) -> None:
        self._connection = connection
        self._client: AIOKafkaProducer | None = None
        self._connecting: asyncio.Task[None] | None = None
        labels = ("topic", "outcome")
        self._sent = metrics.counter("kafka_records_sent_total", "Records sent, by what came of it.", labels)
        self._seconds = metrics.histogram("kafka_send_seconds", "Time until all replicas had a record.", ("topic",))

    async def start(self, tasks: asyncio.TaskGroup) -> None:
        """Begin to connect; `send` waits for it."""
        if self._connecting is None:
            self._connecting = tasks.create_task(self._connect())

    async def stop(self, deadline: Deadline) -> None:
        """Flush what is under way within the deadline, and disconnect."""
        connecting, self._connecting = self._connecting, None
        if connecting is not None:
            connecting.cancel()
        client, self._client = self._client, None
        if client is not None:
            try:
                async with asyncio.timeout(max(0.1, deadline.capped(3.0).remaining_s())):
                    await client.stop()
            except (TimeoutError, KafkaError):
                return

    async def send(
        self,
        topic: Topic,
        value: bytes | None,
        *,
        key: bytes | None = None,
        partition: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """As the port says. Raises: Unavailable, Invalid when the record is too large for Kafka."""
        with tracing.span(f"send {topic.name}", kind="producer", attributes={"messaging.destination.name": topic.name}):
            carried = byte_headers({**(headers or {}), **tracing.inject_headers()})
            try:
                async with asyncio.timeout(ACK_WITHIN_S):
                    with self._seconds.labels(topic.name).time():
                        client = await self._connected()
                        await client.send_and_wait(topic.name, value, key=key, partition=partition, headers=carried)
            except MessageSizeTooLargeError as error:
                self._sent.labels(topic.name, "too_large").inc()
                raise Invalid(f"a record of {len(value or b'')} bytes is too large for {topic.name}") from error
            except (TimeoutError, KafkaError, OSError) as error:
                self._sent.labels(topic.name, "failed").inc()
                raise Unavailable(
                    f"Kafka did not acknowledge a record for {topic.name}: {type(error).__name__}",
                    reason="kafka_unavailable",
                    retry_after_s=RETRY_AFTER_S,
                ) from error
            self._sent.labels(topic.name, "acknowledged").inc()

    async def _connected(self) -> AIOKafkaProducer:
        if self._client is None:
            if self._connecting is None:
                raise Unavailable("the producer is stopped", reason="stopped")
            await asyncio.shield(self._connecting)
        if self._client is None:
            raise Unavailable("the producer is stopped", reason="stopped")
        return self._client

    async def _connect(self) -> None:
        while self._client is None:
            client = AIOKafkaProducer(
                **self._connection.client("producer"),
                acks="all",
                enable_idempotence=True,
                compression_type="zstd",
                max_request_size=MAX_REQUEST_BYTES,
                max_batch_size=MAX_BATCH_BYTES,
                linger_ms=1,
            )
            try:
                await client.start()
                self._client = client
            except (KafkaError, OSError):
                await client.stop()
                await asyncio.sleep(CONNECT_RETRY_S)
            except asyncio.CancelledError:
                await client.stop()
                raise
