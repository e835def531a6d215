"""Traces: what the receiver takes over gRPC is what the store gives and the waterfall draws."""

import asyncio
import contextlib
import io
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as pb
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as rpc
from opentelemetry.proto.common.v1 import common_pb2
from opentelemetry.proto.resource.v1 import resource_pb2
from opentelemetry.proto.trace.v1 import trace_pb2
from rich.console import Console

from chassis.testing import eventually
from corkboard.traces.receiver import MAX_QUEUED_BATCHES, TraceReceiver
from corkboard.traces.store import SpanRow, TraceStore
from corkboard.traces.waterfall import MAX_JOINED_TRACES, draw, in_tree_order, join


@pytest.fixture
def store(tmp_path: Path) -> TraceStore:
    return TraceStore(tmp_path / "folder" / "traces.sqlite")


def span(trace: str, number: int, name: str = "work", parent: str = "", links: Sequence[str] = ()) -> SpanRow:
    """Span `number` of `trace`: begins at that millisecond and takes one."""
    linked = tuple((other, f"{other}-0") for other in links)
    start_ns = number * 1_000_000
    fixed = ("internal", "cg", "cg-1", "local", start_ns, start_ns + 1_000_000, "ok")
    return SpanRow(trace, f"{trace}-{number}", parent, name, *fixed, {"n": number}, linked)


def test_a_span_comes_back_as_it_went_in_and_twice_is_once(store: TraceStore) -> None:
    one, two = span("t", 1, links=("a", "b")), span("t", 2, parent="t-1")
    store.add([two, one])
    store.add([one])
    assert store.trace("t") == [one, two]
    assert store.trace("t")[0].duration_ms == 1.0
    assert store.trace("unknown") == []


def test_the_newest_of_a_name_comes_first(store: TraceStore) -> None:
    store.add([span("t", 1, "feed"), span("t", 3, "feed"), span("t", 2, "other")])
    assert [found.start_ns for found in store.named("feed", limit=5)] == [3_000_000, 1_000_000]
    assert [found.name for found in store.since(2_000_000)] == ["other", "feed"]


def test_links_lead_both_ways_the_newest_first(store: TraceStore) -> None:
    links = (("cause-1", "cause-1-1"), ("cause-2", "cause-2-5"), ("feed", "feed-9"))
    store.add([span("cause-1", 1), span("cause-2", 5), replace(span("feed", 9), links=links)])
    assert store.links_from("feed") == ["cause-2", "cause-1"]
    assert store.links_to("cause-1") == ["feed"] == store.links_to("cause-2")
    assert store.links_to("feed") == [], "a trace is not joined to itself"


def test_links_can_be_asked_for_by_the_name_of_their_span(store: TraceStore) -> None:
    store.add([span("cause", 0), span("flushing", 1, "flush envelope", links=("cause",))])
    store.add([span("ranking", 2, "rank candidates", links=("cause",))])
    assert store.links_to("cause") == ["ranking", "flushing"]
    assert store.links_to("cause", ("flush %", "process %")) == ["flushing"]
    assert store.links_to("cause", ("process %",)) == []


def test_trimming_removes_the_oldest_with_their_links(store: TraceStore) -> None:
    store.add([span("t", number, links=("other",)) for number in range(10)])
    assert store.trim(max_spans=10) == 0
    assert store.trim(max_spans=4) == 6
    assert [found.start_ns for found in store.trace("t")] == [6_000_000, 7_000_000, 8_000_000, 9_000_000]
    assert all(found.links for found in store.trace("t"))
    store.trim(max_spans=0)
    assert store.links_from("t") == [] and store.trace("t") == []


def test_a_trace_is_joined_to_its_causes_their_carriers_and_its_effects(store: TraceStore) -> None:
    store.add([span("save", 0), span("envelope", 1, "process accepted", links=("save",))])
    store.add([span("feed", 5, links=("save",)), span("later", 6, links=("feed",))])
    joined = join(store, "feed")
    assert [spans[0].trace_id for spans in joined.joined] == ["save", "envelope", "later"]
    assert joined.to_json()["spans"] == [vars(found) for found in joined.spans]


def test_only_the_newest_causes_are_joined(store: TraceStore) -> None:
    causes = tuple(f"cause-{number}" for number in range(5))
    store.add([replace(span(cause, number), span_id=f"{cause}-0") for number, cause in enumerate(causes)])
    store.add([span("feed", 9, links=causes)])
    assert [spans[0].trace_id for spans in join(store, "feed").joined] == ["cause-4", "cause-3"][:MAX_JOINED_TRACES]


def test_a_waterfall_is_depth_first_in_order_of_start() -> None:
    spans = [span("t", 0), span("t", 1, parent="t-0"), span("t", 2, parent="t-0"), span("t", 3, parent="t-1")]
    order = [(depth, found.span_id) for depth, found in in_tree_order(spans)]
    assert order == [(0, "t-0"), (1, "t-1"), (2, "t-3"), (1, "t-2")]


def test_a_span_whose_parent_is_missing_is_drawn_as_a_root() -> None:
    spans = [span("t", 0), span("t", 1, "orphan", "never-exported"), span("t", 2, "child", "t-1")]
    assert [(depth, found.span_id) for depth, found in in_tree_order(spans)] == [(0, "t-0"), (0, "t-1"), (1, "t-2")]


def test_a_waterfall_shows_every_span_once_and_its_joined_traces(store: TraceStore) -> None:
    store.add([span("save", 0, "publish events"), span("feed", 5, "corkboard.cg.v1.Cg/Retrieve", links=("save",))])
    store.add([span("feed", 6, "stage rank", "feed-5"), span("feed", 6_000, "long after", "feed-5")])
    drawn = io.StringIO()
    Console(file=drawn, width=120).print(draw(join(store, "feed")))
    for text in ("trace feed", "joined by a link save", "publish events", "cg.v1.Cg/Retrieve", "long after"):
        assert drawn.getvalue().count(text) == 1
    assert drawn.getvalue().index("Retrieve") < drawn.getvalue().index("stage rank")


def export(trace_id: bytes = b"\x01" * 16) -> pb.ExportTraceServiceRequest:
    def attribute(key: str, **value: object) -> common_pb2.KeyValue:
        return common_pb2.KeyValue(key=key, value=common_pb2.AnyValue(**value))  # type: ignore[arg-type]

    many = common_pb2.ArrayValue(values=[common_pb2.AnyValue(int_value=1), common_pb2.AnyValue(bool_value=True)])
    sent = trace_pb2.Span(
        trace_id=trace_id,
        span_id=b"\x02" * 8,
        parent_span_id=b"\x03" * 8,
        name="rank candidates",
        kind=trace_pb2.Span.SPAN_KIND_SERVER,
        start_time_unix_nano=10,
        end_time_unix_nano=30,
        status=trace_pb2.Status(code=trace_pb2.Status.STATUS_CODE_ERROR),
        attributes=[attribute("pins", int_value=7), attribute("list", array_value=many)],
        links=[trace_pb2.Span.Link(trace_id=b"\x04" * 16, span_id=b"\x05" * 8)],
    )
    resource = resource_pb2.Resource(
        attributes=[
            attribute("service.name", string_value="ranker"),
            attribute("service.instance.id", string_value="ranker-1"),
            attribute("corkboard.zone", string_value="az-a"),
        ]
    )
    spans = trace_pb2.ResourceSpans(resource=resource, scope_spans=[trace_pb2.ScopeSpans(spans=[sent])])
    return pb.ExportTraceServiceRequest(resource_spans=[spans])


@contextlib.asynccontextmanager
async def receiving(receiver: TraceReceiver) -> AsyncIterator[rpc.TraceServiceStub]:
    """The receiver on a free port, without its writing task."""
    server = grpc.aio.server()
    rpc.add_TraceServiceServicer_to_server(receiver, server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield rpc.TraceServiceStub(channel)  # type: ignore[no-untyped-call]
    await server.stop(None)


async def test_what_is_exported_over_grpc_is_stored(store: TraceStore) -> None:
    receiver = TraceReceiver(store)
    async with receiving(receiver) as stub, asyncio.TaskGroup() as tasks:
        writing = tasks.create_task(receiver.write())
        await stub.Export(export(), timeout=5.0)
        await eventually(lambda: len(store.trace("01" * 16)) == 1, within_s=5.0)
        writing.cancel()
    assert store.trace("01" * 16) == [
        SpanRow(
            trace_id="01" * 16,
            span_id="02" * 8,
            parent_id="03" * 8,
            name="rank candidates",
            kind="server",
            service="ranker",
            instance="ranker-1",
            zone="az-a",
            start_ns=10,
            end_ns=30,
            status="error",
            attributes={"pins": 7, "list": [1, True]},
            links=(("04" * 16, "05" * 8),),
        )
    ]


async def test_a_full_queue_tells_exporters_to_back_off_and_loses_nothing_it_took(store: TraceStore) -> None:
    receiver = TraceReceiver(store)
    async with receiving(receiver) as stub:
        for number in range(MAX_QUEUED_BATCHES):
            await stub.Export(export(number.to_bytes(16, "big")), timeout=5.0)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.Export(export(), timeout=5.0)
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
    await receiver.drain()
    assert len(store.since(0)) == MAX_QUEUED_BATCHES
