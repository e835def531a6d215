"""Sends records so that returning means every replica has them."""

import asyncio
from collections.abc import Mapping

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError

from chassis import tracing
from chassis.deadline import Deadline
from chassis.errors import CorkboardError, Invalid, Unavailable
from chassis.kafka.connection import Connection, connect, disconnect
from chassis.kafka.record import byte_headers
from chassis.kafka.topic import Topic
from chassis.logs import get_logger
from chassis.metrics import Metrics

ACK_WITHIN_S = 6.0  # the longest that a caller waits; a broker's restart takes 2 to 4 s, another leader 3 to 5
PRODUCE_TIMEOUT_MS = 2_000  # a broker that is silent may be frozen: the next leader is asked, nothing is doubled
CONNECT_RETRY_S = 0.5
RETRY_AFTER_S = 1.0
STOP_WITHIN_S = 3.0
MAX_REQUEST_BYTES = 8 << 20
MAX_BATCH_BYTES = 1 << 20
LINGER_S = 0.001


class KafkaProducer:
    """One idempotent producer. It connects in the background, so that a start does not need Kafka."""

    name = "kafka producer"

    def __init__(self, connection: Connection, metrics: Metrics, *, linger_s: float = LINGER_S) -> None:
        self._connection = connection
        self._linger_ms = round(linger_s * 1_000)
        self._client: AIOKafkaProducer | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._tasks: asyncio.TaskGroup | None = None
        labels = ("topic", "outcome")
        self._sent = metrics.counter("kafka_records_sent_total", "Records sent, by what came of it.", labels)
        self._seconds = metrics.histogram("kafka_send_seconds", "Time until all replicas had a record.", ("topic",))
        self._log = get_logger(self.name)

    async def start(self, tasks: asyncio.TaskGroup) -> None:
        """Begin to connect; `send` waits for it."""
        self._tasks = tasks
        if self._connecting is None:
            self._connecting = tasks.create_task(self._connect())

    async def stop(self, deadline: Deadline) -> None:
        """Flush what is under way within the deadline, and disconnect."""
        connecting, self._connecting = self._connecting, None
        if connecting is not None:
            connecting.cancel()
            await asyncio.wait({connecting}, timeout=deadline.capped(STOP_WITHIN_S).remaining_s())
        client, self._client = self._client, None
        if client is not None:
            await disconnect(client, deadline.capped(STOP_WITHIN_S).remaining_s())

    async def send(
        self,
        topic: Topic,
        value: bytes | None,
        *,
        key: bytes | None = None,
        partition: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """As the port says. Raises: Unavailable; Invalid when Kafka will never take the record."""
        with tracing.span(f"send {topic.name}", kind="producer", attributes={"messaging.destination.name": topic.name}):
            check_record(topic, value, key)
            carried = byte_headers({**(headers or {}), **tracing.inject_headers()})
            with self._seconds.labels(topic.name).time():
                outcome = "failed"
                try:
                    await self._send(topic, value, key, partition, carried)
                    outcome = "acknowledged"
                except Invalid:
                    outcome = "refused"
                    raise
                finally:
                    self._sent.labels(topic.name, outcome).inc()

    async def _send(
        self,
        topic: Topic,
        value: bytes | None,
        key: bytes | None,
        partition: int | None,
        headers: list[tuple[str, bytes]],
    ) -> None:
        client: AIOKafkaProducer | None = None
        try:
            async with asyncio.timeout(ACK_WITHIN_S):
                client = await self._connected()
                await client.send_and_wait(topic.name, value, key=key, partition=partition, headers=headers)
        except (TimeoutError, KafkaError, OSError) as error:
            if client is not None and isinstance(error, KafkaError) and not error.retriable:
                self._replace(client, error)
            if isinstance(error, MessageSizeTooLargeError):
                raise _too_large(topic, value) from error
            raise Unavailable(
                f"Kafka did not acknowledge a record for {topic.name}: {type(error).__name__}",
                reason="kafka_unavailable",
                retry_after_s=RETRY_AFTER_S,
            ) from error

    async def _connected(self) -> AIOKafkaProducer:
        if self._client is None and self._connecting is not None:
            await asyncio.wait({self._connecting})
        if self._client is None:
            raise Unavailable("the producer is stopped", reason="stopped")
        return self._client

    async def _connect(self) -> None:
        while self._client is None:
            client = AIOKafkaProducer(
                **self._connection.client("producer") | {"request_timeout_ms": PRODUCE_TIMEOUT_MS},
                acks="all",
                enable_idempotence=True,
                compression_type="zstd",
                max_request_size=MAX_REQUEST_BYTES,
                max_batch_size=MAX_BATCH_BYTES,
                linger_ms=self._linger_ms,
            )
            # aiokafka gives a record without a leader up after the time of one request; a broker's restart takes longer
            client._message_accumulator._batch_ttl = ACK_WITHIN_S  # noqa: SLF001 - no argument says it
            try:
                await connect(client)
                self._client = client
            except (KafkaError, OSError):
                await asyncio.sleep(CONNECT_RETRY_S)
            finally:
                if self._client is not client:
                    await disconnect(client, STOP_WITHIN_S)

    def _replace(self, broken: AIOKafkaProducer, error: KafkaError) -> None:
        """Go on with a new client. Once Kafka has refused a batch for good, its sequence numbers have a hole, and it
        refuses all that this client sends to the partition from then on."""
        if self._client is not broken or self._tasks is None:
            return
        self._log.warning("refused by Kafka; goes on with a new producer id", error=type(error).__name__)
        self._client = None
        self._connecting = self._tasks.create_task(self._connect())
        self._tasks.create_task(disconnect(broken, STOP_WITHIN_S))


def check_record(topic: Topic, value: bytes | None, key: bytes | None) -> None:
    """Raises: Invalid for what no Kafka would take; a refusal by the broker fails its neighbours in the batch, too."""
    if topic.is_compacted and key is None:
        raise Invalid(f"{topic.name} is compacted: its records need a key", field="key", reason="no_key")
    if value is None and key is None:
        raise Invalid(f"a record for {topic.name} needs a key or a value", field="value", reason="empty")
    if len(value or b"") >= MAX_REQUEST_BYTES:
        raise _too_large(topic, value)


def _too_large(topic: Topic, value: bytes | None) -> CorkboardError:
    return Invalid(f"a record of {len(value or b'')} bytes is too large for {topic.name}", reason="too_large")
