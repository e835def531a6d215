"""Spans of sending and processing: who is the parent, and who is linked."""

from collections.abc import AsyncIterator

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from chassis import tracing
from chassis.deadline import Deadline
from chassis.kafka.bus import Bus
from chassis.kafka.topic import Topic
from chassis.metrics import Metrics
from chassis.testing import InMemoryBus
from chassis.tests.contract_bus import Seen, make_topic, running, unique


@pytest.fixture
async def exporter() -> AsyncIterator[InMemorySpanExporter]:
    """What is exported; complete when `finished` has been awaited."""
    yield InMemorySpanExporter()


async def spans_of(exporter: InMemorySpanExporter, num_records: int) -> tuple[Topic, list[ReadableSpan]]:
    """Send some records and let one batch of them be processed."""
    part = tracing.Tracing("test", "test-1", "", 1.0, "az-a", exporter=exporter, metrics=Metrics("test"))
    bus: Bus = InMemoryBus()
    topic, seen, producer = await make_topic(bus), Seen(), bus.producer()
    async with running(part):
        async with running(producer):
            for number in range(num_records):
                await producer.send(topic, b"%d" % number)
        async with running(bus.consumer("reader", [topic], unique("group"), seen)):
            await seen.until(num_records)
        await part.stop(Deadline.after(2.0))
    return topic, list(exporter.get_finished_spans())


async def test_one_record_is_processed_under_the_span_that_sent_it(exporter: InMemorySpanExporter) -> None:
    topic, (sent, processed) = await spans_of(exporter, 1)
    assert (sent.name, sent.kind) == (f"send {topic.name}", SpanKind.PRODUCER)
    assert (processed.name, processed.kind) == (f"process {topic.name}", SpanKind.CONSUMER)
    assert sent.context is not None and processed.parent is not None
    assert processed.parent.span_id == sent.context.span_id


async def test_a_batch_is_one_span_with_a_link_to_each_sender(exporter: InMemorySpanExporter) -> None:
    _, (*sent, processed) = await spans_of(exporter, 3)
    assert processed.parent is None
    assert [link.context.span_id for link in processed.links] == [one.context.span_id for one in sent if one.context]
    assert dict(processed.attributes or {})["messaging.batch.message_count"] == 3
