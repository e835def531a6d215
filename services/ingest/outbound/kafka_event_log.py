"""Events to Kafka in envelopes, one lane per partition."""

import asyncio
import uuid
from collections.abc import Sequence
from contextlib import suppress

from chassis.deadline import Deadline
from chassis.errors import CorkboardError
from chassis.kafka import arrow, cloud_events
from chassis.kafka.bus import Producer
from chassis.kafka.partitioner import partition_for
from chassis.kafka.topic import Topic
from chassis.metrics import Metrics
from chassis.tracing import context_from, current_traceparent, link_from, span
from protos import event_schema
from protos.telemetry import FLUSH_SPAN
from services.ingest.domain.event import Event
from services.ingest.domain.pending_bytes import PendingBytes
from services.ingest.outbound.kafka_event_envelope import Chunk, size_of, to_batch
from services.ingest.outbound.kafka_event_lane import EnvelopeLimits, EventLane

MAX_LINKS = 32  # requests that one flush span points to; every row carries its own trace anyway
SIZE_BUCKETS = (1, 4, 16, 64, 128, 256, 512, 1024)
EVENT_TYPE = "corkboard.events.accepted"


class KafkaEventLog:
    """Same user, same partition, same order. `start` after the producer, `stop` before it."""

    name = "event log"

    def __init__(
        self, producer: Producer, topic: Topic, limits: EnvelopeLimits, pending: PendingBytes, metrics: Metrics
    ) -> None:
        self._producer = producer
        self._topic = topic
        self._pending = pending
        self._sizes = metrics.histogram("ingest_envelope_events", "Events of one envelope.", buckets=SIZE_BUCKETS)
        self._failed = metrics.counter("ingest_envelopes_failed_total", "Envelopes that Kafka did not acknowledge.")
        metrics.gauge("ingest_pending_bytes", "Bytes waiting for Kafka.").set_function(lambda: pending.taken)
        self._lanes = [EventLane(partition, self._send, limits, pending) for partition in range(topic.num_partitions)]

    async def start(self, tasks: asyncio.TaskGroup) -> None:
        """Send from now on."""
        for lane in self._lanes:
            lane.start(tasks)

    async def stop(self, deadline: Deadline) -> None:
        """Send what waits, as far as the deadline allows; what is left fails."""
        with suppress(TimeoutError):
            async with asyncio.timeout(deadline.remaining_s()):
                await asyncio.gather(*(lane.drain() for lane in self._lanes))
        for lane in self._lanes:
            await lane.close()

    def append(self, events: Sequence[Event], received_time_ms: int) -> Sequence["asyncio.Future[None]"]:
        """As the port says; events of one partition share a future."""
        partitions = [partition_for(event.user_id, self._topic.num_partitions) for event in events]
        groups: dict[int, list[Event]] = {}
        for event, partition in zip(events, partitions, strict=True):
            groups.setdefault(partition, []).append(event)
        traceparent = current_traceparent()
        chunks = {
            partition: Chunk(group, received_time_ms, traceparent, sum(map(size_of, group)))
            for partition, group in groups.items()
        }
        self._pending.take(sum(chunk.num_bytes for chunk in chunks.values()))
        futures = {partition: self._lanes[partition].add(chunk) for partition, chunk in chunks.items()}
        return [futures[partition] for partition in partitions]

    async def _send(self, partition: int, chunks: Sequence[Chunk]) -> None:
        """Raises: Unavailable when not acknowledged within the producer's bounded wait."""
        traces = list(dict.fromkeys(chunk.traceparent for chunk in chunks if chunk.traceparent))
        parent = context_from({"traceparent": traces[0]}) if len(traces) == 1 else None
        links = [link for link in map(link_from, traces[:MAX_LINKS]) if link is not None] if parent is None else []
        batch = to_batch(chunks)
        headers = cloud_events.headers(
            type=EVENT_TYPE,
            source="ingest",
            id=uuid.uuid4().hex,
            schema_version=event_schema.SCHEMA_VERSION,
            content_type=event_schema.CONTENT_TYPE,
        )
        self._sizes.observe(batch.num_rows)
        with span(FLUSH_SPAN, attributes={"corkboard.num_events": batch.num_rows}, links=links, parent=parent):
            try:
                await self._producer.send(
                    self._topic, arrow.encode(batch), key=str(partition).encode(), partition=partition, headers=headers
                )
            except CorkboardError:
                self._failed.inc()
                raise
