"""Traces: W3C context carried by hand over gRPC metadata and Kafka headers, spans exported over OTLP."""

import asyncio
import re
import threading
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from contextvars import Token
from types import TracebackType
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context, attach, detach
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter
from opentelemetry.sdk.trace.sampling import ParentBased
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.trace.propagation import set_span_in_context

from chassis.deadline import Deadline
from chassis.metrics import Metrics
from chassis.span_export import SpanExport, otlp_exporter
from chassis.trace_sampling import UpTo

KINDS = {
    "internal": SpanKind.INTERNAL,
    "server": SpanKind.SERVER,
    "client": SpanKind.CLIENT,
    "producer": SpanKind.PRODUCER,
    "consumer": SpanKind.CONSUMER,
}
EXPORT_EVERY_MS = 1000  # an export costs some milliseconds whatever is in it; a trace is whole about a second later
FLUSH_WITHIN_S = 2.0
MAX_PER_S = 10.0  # traces; more than a person makes, and a bound on what they cost
HEADER = "traceparent"
# W3C Trace Context, level 1: lower-case hex; a version after 00 may have more at its end, ff is none
TRACEPARENT = re.compile(
    r"(?P<version>(?!ff)[0-9a-f]{2})-(?P<trace>[0-9a-f]{32})-(?P<span>[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})(?P<more>-.*)?"
)
NO_SPAN = nullcontext(trace.INVALID_SPAN)

_provider: TracerProvider | None = None
_tracer: trace.Tracer | None = None


class Tracing:
    """The process's source and exporter of spans. With an empty endpoint spans exist and are not exported."""

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
        metrics: Metrics | None = None,
        export_every_ms: float = EXPORT_EVERY_MS,
        max_per_s: float = MAX_PER_S,
    ) -> None:
        self._attributes = {"service.name": service, "service.instance.id": instance, "corkboard.zone": zone}
        self._endpoint = endpoint
        self._ratio, self._max_per_s = ratio, max_per_s
        self._exporter = exporter
        self._metrics = metrics or Metrics(service)
        self._export_every_ms = export_every_ms
        self._provider: TracerProvider | None = None
        self._export: SpanExport | None = None

    async def start(self, tasks: asyncio.TaskGroup) -> None:  # noqa: ARG002  # the SDK's own thread exports
        """Make this the process's source of spans."""
        global _provider, _tracer
        sampler = ParentBased(UpTo(self._ratio, self._max_per_s))
        provider = TracerProvider(resource=Resource(self._attributes), sampler=sampler, shutdown_on_exit=False)
        exporter = self._exporter or (otlp_exporter(self._endpoint) if self._endpoint else None)
        if exporter is not None:
            self._export = SpanExport(exporter, self._metrics, self._export_every_ms)
            provider.add_span_processor(self._export)
        self._provider = _provider = provider
        _tracer = provider.get_tracer("corkboard")

    async def stop(self, deadline: Deadline) -> None:
        """Send what is queued, within the deadline; what is left then is counted as failed."""
        global _provider, _tracer
        if self._provider is not None and _provider is self._provider:
            _provider, _tracer = None, None
        self._provider = None
        export, self._export = self._export, None
        if export is None:
            return
        if not await _done_within(deadline.capped(FLUSH_WITHIN_S).remaining_s(), export):
            export.give_up()


async def _done_within(limit_s: float, export: SpanExport) -> bool:
    """Whether the last export ended in time. The thread is a daemon: a dead receiver must not hold up the exit."""
    loop, done = asyncio.get_running_loop(), asyncio.Event()

    def shut_down() -> None:
        export.shutdown()
        with suppress(RuntimeError):  # the loop is over: nobody waits any more
            loop.call_soon_threadsafe(done.set)

    threading.Thread(target=shut_down, name="last spans", daemon=True).start()
    try:
        async with asyncio.timeout(limit_s):
            await done.wait()
    except TimeoutError:
        return False
    return True


def span(
    name: str,
    *,
    kind: str = "internal",
    attributes: Mapping[str, Any] | None = None,
    links: Sequence[Link] = (),
    parent: Context | None = None,
) -> AbstractContextManager[Span]:
    """A span around a block. An exception marks it as failed and goes on. Costs nothing to speak of without tracing.

    Of a trace that is not recorded the span of the caller stands for all that follow.
    """
    if _tracer is None:
        return NO_SPAN
    above = trace.get_current_span(parent)
    if above is not trace.INVALID_SPAN and not above.get_span_context().trace_flags.sampled:
        return nullcontext(above) if parent is None else _Attached(above)
    return _Scope(_tracer.start_span(name, parent, KINDS[kind], attributes, links, record_exception=False))


class _Attached:
    """Makes a span the current one that others made."""

    __slots__ = ("_span", "_token")

    def __init__(self, span: Span) -> None:
        self._span = span
        self._token: Token[Context] | None = None

    def __enter__(self) -> Span:
        self._token = attach(set_span_in_context(self._span))
        return self._span

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._token is not None:
            detach(self._token)


class _Scope(_Attached):
    """And ends it; half the cost of OpenTelemetry's nested generators."""

    __slots__ = ()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        if error is not None:
            self._span.set_status(Status(StatusCode.ERROR, type(error).__name__))
        self._span.end()


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
    found = TRACEPARENT.fullmatch(header)
    if found is None or (found["version"] == "00" and found["more"]):
        return None
    flags = TraceFlags(int(found["flags"], 16))
    context = SpanContext(int(found["trace"], 16), int(found["span"], 16), is_remote=True, trace_flags=flags)
    return context if context.is_valid else None
