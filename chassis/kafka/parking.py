"""Puts records that cannot be processed aside, whole, with why, where and when."""

import asyncio
from collections.abc import Sequence

from chassis.clock import SYSTEM_CLOCK
from chassis.deadline import Deadline
from chassis.errors import Invalid
from chassis.kafka.producer import KafkaProducer
from chassis.kafka.record import Record
from chassis.kafka.topic import Topic
from chassis.metrics import Metrics

MAX_REASON_CHARACTERS = 1_000


class Parker:
    """Sends to `<topic>.parked`; returns when all replicas have the record, so that its offset may be committed.

    A record that is as large as one may be goes without its value and key, which `parked-from` leads to.
    """

    def __init__(self, producer: KafkaProducer, topics: Sequence[Topic], where: str, metrics: Metrics) -> None:
        self._producer = producer
        self._topic_by_name = {topic.name: topic for topic in topics}
        self._where = where
        self._parked = metrics.counter("kafka_records_parked_total", "Records set aside.", ("topic", "reason"))

    async def start(self, tasks: asyncio.TaskGroup) -> None:
        await self._producer.start(tasks)

    async def stop(self, deadline: Deadline) -> None:
        await self._producer.stop(deadline)

    async def park(self, record: Record, error: Exception, attempt: int = 1) -> None:
        """Raises: Unavailable when Kafka does not take it; then the record must be tried again."""
        topic = self._topic_by_name[record.topic]
        headers = parked_headers(record, error, self._where, attempt)
        value = b"" if record.value is None and record.key is None else record.value  # a record cannot be of nothing
        try:
            await self._producer.send(topic.parked, value, key=record.key, headers=headers)
        except Invalid:  # with what is said about it, it is larger than a record may be
            told = {name: text for name, text in headers.items() if name.startswith("parked-")}
            told["parked-left-out"] = f"value of {len(record.value or b'')} bytes"
            await self._producer.send(topic.parked, b"", headers=told)
        self._parked.labels(topic.name, getattr(error, "reason", "") or type(error).__name__).inc()


def parked_headers(record: Record, error: Exception, where: str, attempt: int) -> dict[str, str]:
    """The record's own headers and what a person needs to understand why it lies here."""
    told = {
        "parked-why": f"{type(error).__name__}: {error}"[:MAX_REASON_CHARACTERS],
        "parked-where": where,
        "parked-when-ms": str(SYSTEM_CLOCK.now_ms()),
        "parked-attempt": str(attempt),
        "parked-from": f"{record.topic}/{record.partition}/{record.offset}",
        "parked-traceparent": record.headers.get("traceparent", ""),
    }
    return {**{key: value for key, value in record.headers.items() if key != "traceparent"}, **told}
