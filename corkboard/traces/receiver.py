"""A small OTLP/gRPC receiver: keeps traces of a local Corkboard in SQLite."""

import asyncio
import contextlib
import signal
from collections.abc import Iterator
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as pb
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as rpc
from opentelemetry.proto.trace.v1 import trace_pb2

from corkboard.traces.store import SpanRow, TraceStore

MAX_QUEUED_BATCHES = 256  # about 130,000 spans; beyond it the exporter is told to back off
TRIM_EVERY_S = 60.0
KINDS = {0: "internal", 1: "internal", 2: "server", 3: "client", 4: "producer", 5: "consumer"}


class TraceReceiver(rpc.TraceServiceServicer):
    """Queues what arrives; one task writes it, so that exporters never wait for the disk."""

    def __init__(self, store: TraceStore) -> None:
        self._store = store
        self._queue: asyncio.Queue[list[SpanRow]] = asyncio.Queue(MAX_QUEUED_BATCHES)

    async def Export(  # the name is OTLP's
        self, request: pb.ExportTraceServiceRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ExportTraceServiceResponse:
        try:
            self._queue.put_nowait(list(_rows(request)))
        except asyncio.QueueFull:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the trace queue is full")
        return pb.ExportTraceServiceResponse()

    async def write(self) -> None:
        """Write batches for ever."""
        while True:
            rows = await self._queue.get()
            while not self._queue.empty():
                rows += self._queue.get_nowait()
            await asyncio.to_thread(self._store.add, rows)

    async def trim(self) -> None:
        """Keep the file bounded, for ever."""
        while True:
            await asyncio.sleep(TRIM_EVERY_S)
            await asyncio.to_thread(self._store.trim)

    async def drain(self) -> None:
        """Write what is still queued."""
        while not self._queue.empty():
            await asyncio.to_thread(self._store.add, self._queue.get_nowait())


async def serve(port: int, store: TraceStore) -> None:
    """Receive on loopback until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    receiver = TraceReceiver(store)
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", 32 << 20)])
    rpc.add_TraceServiceServicer_to_server(receiver, server)  # type: ignore[no-untyped-call]
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(receiver.write()), tasks.create_task(receiver.trim())]
        await stop.wait()
        await server.stop(1.0)
        for task in running:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
    await receiver.drain()


def _rows(request: pb.ExportTraceServiceRequest) -> Iterator[SpanRow]:
    for resource_spans in request.resource_spans:
        resource = _attributes(resource_spans.resource.attributes)
        for scope_spans in resource_spans.scope_spans:
            for span in scope_spans.spans:
                yield _row(span, resource)


def _row(span: trace_pb2.Span, resource: dict[str, Any]) -> SpanRow:
    return SpanRow(
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        name=span.name,
        kind=KINDS.get(int(span.kind), "internal"),
        service=str(resource.get("service.name", "?")),
        instance=str(resource.get("service.instance.id", "")),
        zone=str(resource.get("corkboard.zone", "")),
        start_ns=span.start_time_unix_nano,
        end_ns=span.end_time_unix_nano,
        status="error" if span.status.code == trace_pb2.Status.STATUS_CODE_ERROR else "ok",
        attributes=_attributes(span.attributes),
        links=tuple((link.trace_id.hex(), link.span_id.hex()) for link in span.links),
    )


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(item) for item in value.array_value.values]
    return getattr(value, kind) if kind in ("string_value", "bool_value", "int_value", "double_value") else None
