"""Kafka as services see it: producers, consumers of groups, and whole compacted topics as tables."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from chassis.clock import SYSTEM_CLOCK, Clock
from chassis.deadline import Deadline
from chassis.health import Health
from chassis.kafka.admin import end_offsets, ensure_topics
from chassis.kafka.connection import Connection
from chassis.kafka.consumer import BatchConsumer
from chassis.kafka.handling import Check
from chassis.kafka.parking import Parker
from chassis.kafka.producer import LINGER_S, KafkaProducer
from chassis.kafka.record import Record
from chassis.kafka.security import PLAINTEXT, KafkaSecurity
from chassis.kafka.start_patience import StartPatience
from chassis.kafka.table import KafkaTable
from chassis.kafka.topic import Topic
from chassis.metrics import Metrics

Handle = Callable[[Sequence[Record]], Awaitable[None]]
Apply = Callable[[Record], Awaitable[None] | None]
Offsets = Mapping[tuple[str, int], int]
StartOffsets = Callable[[], Awaitable[Offsets]]

__all__ = ["Apply", "Bus", "Handle", "KafkaBus", "Part", "Producer", "Record", "StartOffsets"]


class Part(Protocol):
    """What the lifecycle starts and stops."""

    @property
    def name(self) -> str: ...

    async def start(self, tasks: asyncio.TaskGroup) -> None: ...

    async def stop(self, deadline: Deadline) -> None: ...


class Producer(Part, Protocol):
    """Sends records; a part that is started before and stopped after its users."""

    async def send(
        self,
        topic: Topic,
        value: bytes | None,
        *,
        key: bytes | None = None,
        partition: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Return when all replicas have the record; the current trace travels in its headers.

        Raises: Unavailable when that takes longer than the producer's limit (the record may still arrive); Invalid
        when Kafka will never take it: too large, or without a key in a compacted topic.
        """
        ...


class Bus(Protocol):
    """Makes parts that talk to Kafka; nothing connects before they start."""

    @property
    def patience(self) -> StartPatience:
        """Shared by the parts that can start without their topics."""
        ...

    def producer(self, *, linger_s: float = LINGER_S) -> Producer:
        """`linger_s` is how long a record may wait for others to travel with."""
        ...

    def consumer(
        self,
        name: str,
        topics: Sequence[Topic],
        group: str,
        handle: Handle,
        *,
        max_records: int = 64,
        start_offsets: StartOffsets | None = None,
        check: Check | None = None,
        is_patient: bool = False,
    ) -> Part:
        """Reads `topics` as a member of `group`. `handle` gets records of one topic, of one or more partitions, in
        order within each, and returns when their effect is durable; only then may their offsets be committed.

        When it raises, each partition goes on alone: RETRY is tried again, PARK is bisected until the poison records
        stand alone and are sent to `<topic>.parked`, DROP is counted. So records whose effect was durable may come
        again. `start_offsets` replaces committed offsets where it names a partition.

        Where `handle` is slow whatever is in a batch, `check` spares the bisecting: after a failure it raises for each
        record that is poison by itself, and what is left is handled together.

        A reader that `is_patient` gets its records half a second late, and those of that time at once: a fetch costs a
        millisecond and more whatever is in it, for the broker and for the reader.
        """
        ...

    def table(self, name: str, topic: Topic, apply: Apply) -> Part:
        """Reads the whole of a compacted topic without a group, then follows it. `start` returns when caught up and
        raises Unavailable when that takes too long; it may then be called again."""
        ...

    def pipeline(self, name: str, topics: Sequence[Topic], group: str, handle: Handle) -> Part:
        """Like `consumer`, on Faust."""
        ...

    async def ensure_topics(self, topics: Sequence[Topic], replication: int = 1) -> None:
        """Create those that are missing. Raises: Unavailable."""
        ...

    async def end_offsets(self, topics: Sequence[Topic]) -> Offsets:
        """The offset after the last record of each (topic, partition). Raises: Unavailable."""
        ...


class KafkaBus:
    """The real one. `zone` becomes the consumers' rack, `instance` part of client ids; a `group_instance_id`, which
    must outlive a restart, makes static members of groups."""

    def __init__(
        self,
        bootstrap: str,
        *,
        zone: str,
        instance: str,
        metrics: Metrics,
        health: Health,
        clock: Clock = SYSTEM_CLOCK,
        group_instance_id: str = "",
        security: KafkaSecurity = PLAINTEXT,
    ) -> None:
        self._connection = Connection(bootstrap, zone, instance, group_instance_id, security)
        self._metrics = metrics
        self._health = health
        self._clock = clock
        self.patience = StartPatience(clock)

    def producer(self, *, linger_s: float = LINGER_S) -> KafkaProducer:
        return KafkaProducer(self._connection, self._metrics, linger_s=linger_s)

    def consumer(
        self,
        name: str,
        topics: Sequence[Topic],
        group: str,
        handle: Handle,
        *,
        max_records: int = 64,
        start_offsets: StartOffsets | None = None,
        check: Check | None = None,
        is_patient: bool = False,
    ) -> BatchConsumer:
        return BatchConsumer(
            name,
            topics,
            group,
            handle,
            connection=self._connection,
            parker=self._parker(topics),
            metrics=self._metrics,
            health=self._health,
            clock=self._clock,
            max_records=max_records,
            start_offsets=start_offsets,
            check=check,
            is_patient=is_patient,
        )

    def table(self, name: str, topic: Topic, apply: Apply) -> KafkaTable:
        return KafkaTable(name, topic, apply, connection=self._connection, metrics=self._metrics, health=self._health)

    def pipeline(self, name: str, topics: Sequence[Topic], group: str, handle: Handle) -> Part:
        from chassis.kafka.faust_app import FaustPipeline  # only who calls this needs faust-streaming

        return FaustPipeline(
            name,
            topics,
            group,
            handle,
            connection=self._connection,
            parker=self._parker(topics),
            metrics=self._metrics,
            health=self._health,
            clock=self._clock,
        )

    async def ensure_topics(self, topics: Sequence[Topic], replication: int = 1) -> None:
        await ensure_topics(self._connection, topics, replication)

    async def end_offsets(self, topics: Sequence[Topic]) -> Offsets:
        return await end_offsets(self._connection, topics)

    def _parker(self, topics: Sequence[Topic]) -> Parker:
        return Parker(self.producer(), topics, self._connection.instance, self._metrics)
