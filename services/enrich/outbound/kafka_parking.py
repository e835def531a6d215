"""Rows and pins that cannot be enriched, set aside with the reason; headers as the consumers' own parking has them."""

from collections.abc import Sequence

import pyarrow as pa

from chassis.clock import Clock
from chassis.kafka import arrow
from chassis.kafka.bus import Producer
from chassis.kafka.topic import Topic
from chassis.metrics import Metrics
from chassis.tracing import current_traceparent
from protos import event_schema, topics
from sequences.engine.result import RowFailure


class KafkaParking:
    """Failed rows travel as envelopes of the accepted schema, one per enrichment and reason."""

    def __init__(
        self,
        producer: Producer,
        where: str,
        clock: Clock,
        metrics: Metrics,
        parked_events: Topic = topics.EVENTS_ACCEPTED.parked,
    ) -> None:
        self._producer = producer
        self._where = where
        self._clock = clock
        self._parked_events = parked_events
        self._parked = metrics.counter(
            "enrich_rows_parked_total", "Rows set aside, by enrichment.", ("topic", "enrichment")
        )

    async def park_rows(self, batch: pa.RecordBatch, failures: Sequence[RowFailure], partition: int) -> None:
        """As the port says."""
        rows: dict[tuple[str, str], list[int]] = {}
        for failure in failures:
            rows.setdefault((failure.enrichment, failure.reason), []).append(failure.row)
        topic = topics.EVENTS_ACCEPTED
        for (enrichment, reason), places in rows.items():
            headers = self._headers(enrichment, reason, f"{topic.name}/{partition}")
            headers |= {"content-type": event_schema.CONTENT_TYPE, "schema-version": event_schema.SCHEMA_VERSION}
            value = arrow.encode(batch.take(pa.array(places, pa.int64())))
            await self._producer.send(self._parked_events, value, key=str(partition).encode(), headers=headers)
            self._parked.labels(topic.name, enrichment).inc(len(places))

    async def park_pin(self, pin_id: str, payload: bytes, failure: RowFailure) -> None:
        """As the port says."""
        topic = topics.PINS_PUBLISHED
        headers = self._headers(failure.enrichment, failure.reason, topic.name)
        await self._producer.send(topic.parked, payload, key=pin_id.encode(), headers=headers)
        self._parked.labels(topic.name, failure.enrichment).inc()

    def _headers(self, enrichment: str, reason: str, origin: str) -> dict[str, str]:
        return {
            "parked-why": f"{enrichment}: {reason}",
            "parked-where": self._where,
            "parked-from": origin,
            "parked-when-ms": str(self._clock.now_ms()),
            "parked-attempt": "1",
            "parked-traceparent": current_traceparent(),
        }
