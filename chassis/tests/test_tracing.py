"""Tracing: context over headers, sampling, and an exporter that never holds anybody up."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import SpanKind, StatusCode

from chassis import span_export, tracing
from chassis.deadline import Deadline
from chassis.metrics import Metrics
from chassis.testing import FakeClock, eventually
from chassis.trace_sampling import BURST_S, UpTo

TRACE_ID, SPAN_ID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
HEADER = f"00-{TRACE_ID}-{SPAN_ID}-01"


@asynccontextmanager
async def recording(
    exporter: SpanExporter | None = None,
    *,
    endpoint: str = "",
    ratio: float = 1.0,
    max_per_s: float = 1e6,
    stop_within_s: float = 2.0,
) -> AsyncIterator[Metrics]:
    metrics = Metrics("test")
    part = tracing.Tracing(
        "test",
        "test-1",
        endpoint,
        ratio,
        "az-a",
        exporter=exporter,
        metrics=metrics,
        export_every_ms=20,
        max_per_s=max_per_s,
    )
    async with asyncio.TaskGroup() as tasks:
        await part.start(tasks)
    try:
        yield metrics
    finally:
        await part.stop(Deadline.after(stop_within_s))


def count(metrics: Metrics, outcome: str) -> float:
    return metrics.registry.get_sample_value("trace_spans_total", {"outcome": outcome}) or 0.0


async def test_spans_nest_and_tell_who_made_them() -> None:
    exporter = InMemorySpanExporter()
    async with recording(exporter) as metrics:
        with tracing.span("outer", kind="server", attributes={"n": 1}), tracing.span("inner"):
            await asyncio.sleep(0)
        assert tracing.current_traceparent() == ""
    inner, outer = exporter.get_finished_spans()
    assert inner.parent is not None
    assert outer.context is not None
    assert inner.parent.span_id == outer.context.span_id
    assert dict(outer.attributes or {}) == {"n": 1}
    assert dict(outer.resource.attributes) == {
        "service.name": "test",
        "service.instance.id": "test-1",
        "corkboard.zone": "az-a",
    }
    assert count(metrics, "exported") == 2


async def test_an_exception_marks_the_span_and_goes_on() -> None:
    exporter = InMemorySpanExporter()
    async with recording(exporter):
        with pytest.raises(KeyError), tracing.span("work"):
            raise KeyError("gone")
    (span,) = exporter.get_finished_spans()
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "KeyError")


async def test_context_goes_over_headers_and_back() -> None:
    exporter = InMemorySpanExporter()
    async with recording(exporter):
        with tracing.span("sender"):
            headers = tracing.inject_headers()
        with tracing.span("receiver", parent=tracing.context_from(headers)):
            pass
        link = tracing.link_from(headers["traceparent"])
        assert link is not None
        with tracing.span("batch", links=[link]):
            pass
    sender, receiver, batch = exporter.get_finished_spans()
    assert sender.context is not None
    assert receiver.parent is not None
    assert receiver.parent.span_id == sender.context.span_id
    assert batch.links[0].context.span_id == sender.context.span_id
    assert batch.parent is None


async def test_a_parent_that_was_not_sampled_is_obeyed() -> None:
    exporter = InMemorySpanExporter()
    async with recording(exporter):
        parent = tracing.context_from({"traceparent": f"00-{TRACE_ID}-{SPAN_ID}-00"})
        with tracing.span("child", parent=parent):
            assert tracing.current_traceparent().endswith("-00")
            assert tracing.current_trace_id() == TRACE_ID
    assert exporter.get_finished_spans() == ()


async def test_ratio_zero_records_only_what_a_parent_asked_for() -> None:
    exporter = InMemorySpanExporter()
    async with recording(exporter, ratio=0.0):
        with tracing.span("root"):
            pass
        with tracing.span("child", parent=tracing.context_from({"traceparent": HEADER})):
            pass
    assert [span.name for span in exporter.get_finished_spans()] == ["child"]


@pytest.mark.parametrize(
    "header",
    [
        "",
        "garbage",
        "00-short-00f067aa0ba902b7-01",
        f"00-{'0' * 32}-{SPAN_ID}-01",
        f"00-{TRACE_ID}-{'0' * 16}-01",
        f"ff-{TRACE_ID}-{SPAN_ID}-01",
        f"00-{'z' * 32}-{SPAN_ID}-01",
        f"00-{TRACE_ID}-{SPAN_ID}-zz",
        f"00-{TRACE_ID}-{SPAN_ID}-100",
        f"00-{TRACE_ID}-{SPAN_ID}--1",
        f"00-{TRACE_ID}-{SPAN_ID}-01-extra",
        f"0-{TRACE_ID}-{SPAN_ID}-01",
        f"00-{TRACE_ID.upper()}-{SPAN_ID}-01",
        f"00-{'+' + TRACE_ID[1:]}-{SPAN_ID}-01",
        f"00-{TRACE_ID[:15] + '_' + TRACE_ID[16:]}-{SPAN_ID}-01",
        "00-" + "é" * 32 + f"-{SPAN_ID}-01",
    ],
)
def test_a_malformed_header_is_no_context(header: str) -> None:
    assert tracing.link_from(header) is None
    assert len(tracing.context_from({"traceparent": header})) == 0


def test_a_header_of_a_later_version_is_read() -> None:
    link = tracing.link_from(f"01-{TRACE_ID}-{SPAN_ID}-01-more")
    assert link is not None
    assert f"{link.context.trace_id:032x}" == TRACE_ID


def test_without_tracing_a_span_is_nothing() -> None:
    with tracing.span("work") as span:
        assert not span.is_recording()
        assert tracing.inject_headers() == {}
    with pytest.raises(KeyError), tracing.span("work"):
        raise KeyError("gone")


async def test_the_first_of_two_services_to_stop_leaves_the_other_its_traces() -> None:
    kept = InMemorySpanExporter()
    async with recording(InMemorySpanExporter()):
        inner = recording(kept)
        await inner.__aenter__()
    with tracing.span("after"):
        pass
    await inner.__aexit__(None, None, None)
    assert [span.name for span in kept.get_finished_spans()] == ["after"]


class StuckExporter(SpanExporter):
    """Does not return until it is shut down."""

    def __init__(self) -> None:
        self.is_shut = threading.Event()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.is_shut.wait(30)
        return SpanExportResult.FAILURE

    def shutdown(self) -> None:
        self.is_shut.set()


async def test_a_stuck_receiver_costs_spans_and_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(span_export, "MAX_QUEUED_SPANS", 600)
    begun_s = time.monotonic()
    async with recording(StuckExporter(), stop_within_s=0.3) as metrics:
        for _ in range(1_000):
            with tracing.span("work"):
                pass
        assert count(metrics, "dropped") == 400
    assert time.monotonic() - begun_s < 2.0
    await eventually(lambda: count(metrics, "failed") == 600, within_s=5)


class Receiver(trace_service_pb2_grpc.TraceServiceServicer):  # type: ignore[misc,unused-ignore]
    """An OTLP receiver that keeps the names of spans."""

    def __init__(self) -> None:
        self.names: list[str] = []

    async def Export(self, request: trace_service_pb2.ExportTraceServiceRequest, context: object) -> object:
        for resource in request.resource_spans:
            self.names += [span.name for scope in resource.scope_spans for span in scope.spans]
        return trace_service_pb2.ExportTraceServiceResponse()


async def test_spans_reach_an_otlp_receiver_soon_and_the_last_ones_at_stop() -> None:
    receiver, server = Receiver(), grpc.aio.server()
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(receiver, server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with recording(endpoint=f"http://127.0.0.1:{port}") as metrics:
        with tracing.span("first"):
            pass
        await eventually(lambda: receiver.names == ["first"], within_s=5)
        with tracing.span("last"):
            pass
    assert receiver.names == ["first", "last"]
    assert count(metrics, "exported") == 2
    await server.stop(None)


async def test_an_absent_receiver_does_not_hold_up_the_stop() -> None:
    begun_s = time.monotonic()
    async with recording(endpoint="http://127.0.0.1:9", stop_within_s=0.3) as metrics:
        with tracing.span("work"):
            pass
    assert time.monotonic() - begun_s < 2.0
    await eventually(lambda: count(metrics, "failed") == 1, within_s=5)


def test_no_more_calls_than_allowed_begin_a_recorded_trace() -> None:
    clock = FakeClock()
    sampler = UpTo(1.0, 10.0, clock)

    def num_recorded(num: int, kind: SpanKind) -> int:
        found = [sampler.should_sample(None, trace_id, "call", kind) for trace_id in range(num)]
        return sum(each.decision is Decision.RECORD_AND_SAMPLE for each in found)

    assert num_recorded(100, SpanKind.SERVER) == 10 * BURST_S
    assert num_recorded(100, SpanKind.CLIENT) == 0
    clock.advance(0.5)
    assert num_recorded(100, SpanKind.SERVER) == 5
    clock.advance(3_600.0)
    assert num_recorded(100, SpanKind.SERVER) == 10 * BURST_S
    assert num_recorded(100, SpanKind.CONSUMER) == 100, "what begins inside is not limited"


async def test_beyond_the_limit_a_trace_is_carried_on_and_not_recorded() -> None:
    exporter = InMemorySpanExporter()
    async with recording(exporter, max_per_s=0.5) as metrics:  # a burst of one
        for name in ("first", "second"):
            with tracing.span(name, kind="server"):
                with tracing.span("inner") as inner:
                    inner.set_attribute("is_taken", True)
                headers = tracing.inject_headers()
            with tracing.span("elsewhere", kind="server", parent=tracing.context_from(headers)):
                carried = tracing.inject_headers()
            assert carried["traceparent"].split("-")[1] == headers["traceparent"].split("-")[1]
            assert tracing.current_traceparent() == ""
        assert not int(carried["traceparent"].split("-")[3], 16) & 1, "its flag says so to the next one"
    assert [each.name for each in exporter.get_finished_spans()] == ["inner", "first", "elsewhere"]
    assert count(metrics, "exported") == 3
