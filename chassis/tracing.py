"""Traces: W3C context carried by hand over gRPC metadata and Kafka headers, spans exported over OTLP."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.trace.propagation import set_span_in_context

from chassis.deadline import Deadline

KINDS = {
    "internal": SpanKind.INTERNAL,
    "server": SpanKind.SERVER,
    "client": SpanKind.CLIENT,
    "producer": SpanKind.PRODUCER,
    "consumer": SpanKind.CONSUMER,
}
MAX_QUEUED_SPANS = 8_192  # about 8 MB; beyond it spans are dropped, the path never waits
EXPORT_EVERY_MS = 300
EXPORT_TIMEOUT_MS = 2_000
HEADER = "traceparent"

_provider: TracerProvider | None = None
_tracer: trace.Tracer | None = None


class Tracing:
    """The process's exporter of spans. With an empty endpoint spans exist and are not exported."""

    name = "tracing"

    def __init__(
        self,
        service: str,
        instance: str,
        endpoint: str,
        ratio: float,
        zone: str = "",
        *,
        exporter: SpanExporter | None = None,
    ) -> None:
        self._attributes = {"service.name": service, "service.instance.id": instance, "corkboard.zone": zone}
        self._endpoint = endpoint
        self._ratio = ratio
        self._exporter = exporter

    async def start(self, tasks: asyncio.TaskGroup) -> None:  # noqa: ARG002  # the SDK's own thread exports
        """Make this the process's provider."""
        global _provider, _tracer
        provider = TracerProvider(
            resource=Resource(self._attributes), sampler=ParentBased(TraceIdRatioBased(self._ratio))
        )
        exporter = self._exporter or (_otlp(self._endpoint) if self._endpoint else None)
        if exporter is not None:
            provider.add_span_processor(
                BatchSpanProcessor(
                    exporter,
                    max_queue_size=MAX_QUEUED_SPANS,
                    schedule_delay_millis=EXPORT_EVERY_MS,
                    export_timeout_millis=EXPORT_TIMEOUT_MS,
                )
            )
        _provider, _tracer = provider, provider.get_tracer("corkboard")

    async def stop(self, deadline: Deadline) -> None:
        """Send what is queued, within the deadline."""
        global _provider, _tracer
        provider, _provider, _tracer = _provider, None, None
        if provider is not None:
            await asyncio.to_thread(provider.force_flush, int(deadline.capped(2.0).remaining_s() * 1000))
            await asyncio.to_thread(provider.shutdown)


@contextmanager
def span(
    name: str,
    *,
    kind: str = "internal",
    attributes: Mapping[str, Any] | None = None,
    links: Sequence[Link] = (),
    parent: Context | None = None,
) -> Iterator[Span]:
    """A span around a block. An exception marks it as failed and goes on."""
    if _tracer is None:
        yield trace.INVALID_SPAN
        return
    with _tracer.start_as_current_span(
        name,
        context=parent,
        kind=KINDS[kind],
        attributes=attributes,
        links=links,
        record_exception=False,
        set_status_on_exception=False,
    ) as current:
        try:
            yield current
        except BaseException as error:
            current.set_status(Status(StatusCode.ERROR, type(error).__name__))
            raise


def inject_headers() -> dict[str, str]:
    """`{"traceparent": …}` of the current span, or nothing."""
    header = current_traceparent()
    return {HEADER: header} if header else {}


def current_traceparent() -> str:
    """The current span as a W3C header; empty outside of a trace."""
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return ""
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"


def current_trace_id() -> str:
    """32 hex digits; empty outside of a trace."""
    context = trace.get_current_span().get_span_context()
    return f"{context.trace_id:032x}" if context.is_valid else ""


def context_from(headers: Mapping[str, str]) -> Context:
    """The context that `traceparent` names; an empty one when it is absent or malformed."""
    found = _span_context(headers.get(HEADER, ""))
    return set_span_in_context(trace.NonRecordingSpan(found), Context()) if found else Context()


def link_from(traceparent: str) -> Link | None:
    """A link to the span that a W3C header names; None when it is malformed."""
    found = _span_context(traceparent)
    return Link(found) if found else None


def _span_context(header: str) -> SpanContext | None:
    parts = header.split("-")
    if len(parts) < 4 or len(parts[1]) != 32 or len(parts[2]) != 16 or parts[0] == "ff":
        return None
    try:
        context = SpanContext(
            int(parts[1], 16), int(parts[2], 16), is_remote=True, trace_flags=TraceFlags(int(parts[3], 16))
        )
    except ValueError:
        return None
    return context if context.is_valid else None


def _otlp(endpoint: str) -> SpanExporter:
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter(
        endpoint=endpoint, insecure=not endpoint.startswith("https"), timeout=EXPORT_TIMEOUT_MS / 1000
    )
