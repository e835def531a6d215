"""The one layer around every RPC handler: errors, deadline, span, metrics, limits, quota.

It is put on once, when a servicer is registered, not looked up per call: a hop costs 0.3-0.5 ms of CPU and this layer
may add a quarter of that at most. Requests come in as raw bytes, so a malformed one is INVALID_ARGUMENT.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from time import perf_counter
from typing import Any, cast

import grpc
from google.protobuf.message import DecodeError

from chassis import tracing
from chassis.criticality import criticality_of, prioritised, set_current_criticality
from chassis.deadline import Deadline, set_current_deadline
from chassis.errors import CorkboardError, Invalid, Unavailable
from chassis.grpc.access import AccessTable
from chassis.grpc.admission import Admitter, ResourceOf, Room
from chassis.grpc.failures import as_answer
from chassis.grpc.limits import MethodLimit, ServerLimits
from chassis.grpc.rpc_metrics import Recorder, ServerMetrics
from chassis.grpc.status import to_status
from chassis.grpc.wrong_answers import WrongAnswers
from chassis.protection.shedding import LoadShedder

Context = Any  # grpc.aio.ServicerContext; its generic parameters say nothing here
Answer = Callable[[Any, Context], Awaitable[bytes | None]]
_DRAINING = "draining"
HEADER_OVERHEAD_BYTES = 32
# A peer that answers is no lost connection: gRPC must not multiply calls to it while its own dependency is away.
_DO_NOT_RETRY_HERE = ("grpc-retry-pushback-ms", "-1")


class Guard:
    """Wraps the handlers of one door and knows which calls are inside."""

    def __init__(
        self,
        limits: ServerLimits,
        metrics: ServerMetrics,
        admitter: Admitter | None = None,
        resource_of: ResourceOf | None = None,
        shedder: LoadShedder | None = None,
        access: AccessTable | None = None,
        wrong_answers: WrongAnswers | None = None,
    ) -> None:
        self.wrong_answers = wrong_answers
        self.shedder = shedder
        self.access = access
        self.room = Room("server", limits.max_concurrent)
        self.streams: set[asyncio.Task[Any]] = set()
        self.methods: set[str] = set()
        self.max_metadata_bytes = limits.max_metadata_bytes
        self._limits = limits
        self._metrics = metrics
        self._admitter = admitter
        self._resource_of = resource_of
        metrics.in_flight.set_function(lambda: self.room.taken)

    def wrap(self, method: str, handler: Any) -> Any:
        """The guarded handler of `package.Service/Method`.

        Raises: Invalid for a method whose request is a stream: no contract has one.
        """
        if handler.request_streaming:
            raise Invalid(f"{method} streams its request, which no door serves", field=method)
        self.methods.add(method)
        guarded = _GuardedMethod(method, handler, self._limits.of(method), self)
        if handler.response_streaming:
            return grpc.unary_stream_rpc_method_handler(guarded.serve_stream)
        return grpc.unary_unary_rpc_method_handler(guarded.serve_unary)

    def recorder(self, method: str) -> Recorder:
        """Takes the finished calls of `method`."""
        return self._metrics.recorder(method)

    def charge(self, method: str, request: Any) -> None:
        """Raises: Overloaded when the request's resource is out of quota."""
        if self._admitter is None or self._resource_of is None:
            return
        charged = self._resource_of(method, request)
        if charged is not None:
            resource, cost = charged
            self._admitter.admit(prioritised(resource), cost)

    def end_streams(self) -> None:
        """Ask every open response stream to end; its client learns that this server drains."""
        for task in self.streams:
            task.cancel(_DRAINING)


class _GuardedMethod:
    """One RPC method with everything that is fixed about it looked up beforehand."""

    def __init__(self, name: str, handler: Any, limit: MethodLimit, guard: Guard) -> None:
        self._name = name
        self._is_stream = handler.response_streaming
        self._behaviour = handler.unary_stream if handler.response_streaming else handler.unary_unary
        self._parse = handler.request_deserializer or _same
        self._serialize = handler.response_serializer or _same
        self._limit = limit
        self._guard = guard
        self._room = Room(name, limit.max_concurrent)
        self._record = guard.recorder(name)

    async def serve_unary(self, raw: bytes, context: Context) -> bytes | None:
        """Answer one call of a unary method."""
        return await self._serve(raw, context, self._answer, self._limit.timeout_s)

    async def serve_stream(self, raw: bytes, context: Context) -> None:
        """Answer one call of a method whose response is a stream."""
        task = cast("asyncio.Task[None]", asyncio.current_task())  # gRPC runs each call in a task of its own
        self._guard.streams.add(task)
        try:
            await self._serve(raw, context, self._answer_stream, self._limit.stream_timeout_s)
        finally:
            self._guard.streams.discard(task)

    async def _serve(self, raw: bytes, context: Context, answer: Answer, limit_s: float) -> bytes | None:
        started_s = perf_counter()
        code = "CANCELLED"
        try:
            reply = await self._inside(raw, context, answer, limit_s)
            code = "OK"
            return reply
        except CorkboardError as error:
            code = error.status
            await _abort(context, error)
        except asyncio.CancelledError as error:
            if error.args != (_DRAINING,):
                raise
            code = Unavailable.status
            await _abort(context, Unavailable("the server drains", reason=_DRAINING))
        finally:
            self._record(code, perf_counter() - started_s)
        return None

    async def _inside(self, raw: bytes, context: Context, answer: Answer, limit_s: float) -> bytes | None:
        if self._guard.access is not None:
            self._guard.access.check(self._name, context)
        rooms, shedder = (self._guard.room, self._room), self._guard.shedder
        for room in rooms:
            if room.is_full():  # before the span: refusing must stay cheap under overload
                raise room.refusal()
        metadata = context.invocation_metadata() or ()
        self._check_size(metadata)
        criticality = criticality_of(metadata)
        if shedder is not None:
            shedder.check(criticality, self._guard.room.taken)
        set_current_criticality(criticality)
        for room in rooms:
            room.taken += 1
        started_s = perf_counter()
        try:
            with tracing.span(self._name, kind="server", parent=_parent(context)):
                reply = await self._within_deadline(raw, context, answer, limit_s)
            if shedder is not None and not self._is_stream:
                shedder.done(self._name, perf_counter() - started_s, self._guard.room.taken)
            return reply
        finally:
            for room in rooms:
                room.taken -= 1

    def _check_size(self, metadata: Any) -> None:
        """As HTTP/2 counts it (RFC 9113, section 6.5.2). gRPC itself cuts off what is much larger, uncounted."""
        size = sum(len(key) + len(value) + HEADER_OVERHEAD_BYTES for key, value in metadata)
        if size > self._guard.max_metadata_bytes:
            raise Invalid(
                f"metadata of {size} bytes, at most {self._guard.max_metadata_bytes} are taken",
                field="metadata",
                reason="metadata_too_large",
            )

    async def _within_deadline(self, raw: bytes, context: Context, answer: Answer, limit_s: float) -> bytes | None:
        remaining_s = context.time_remaining()
        timeout_s = limit_s if remaining_s is None else min(limit_s, remaining_s)
        set_current_deadline(Deadline.after(timeout_s))
        scope = asyncio.timeout(timeout_s)
        try:
            request = self._request(raw)
            self._guard.charge(self._name, request)
            async with scope:
                return await answer(request, context)
        except CorkboardError:
            raise
        except Exception as error:
            raise as_answer(error, self._name, timeout_s if scope.expired() else None) from error

    def _request(self, raw: bytes) -> Any:
        if len(raw) > self._limit.max_request_bytes:
            raise Invalid(
                f"request of {len(raw)} bytes, at most {self._limit.max_request_bytes} are taken",
                reason="message_too_large",
            )
        try:
            return self._parse(raw)
        except (DecodeError, ValueError) as error:
            raise Invalid(f"request of {len(raw)} bytes is no valid message", reason="malformed_request") from error

    async def _answer(self, request: Any, context: Context) -> bytes:
        reply = await self._behaviour(request, context)
        if self._guard.wrong_answers is not None:
            reply = await self._guard.wrong_answers.spoil(self._name, request, reply)
        serialized: bytes = self._serialize(reply)
        return serialized

    async def _answer_stream(self, request: Any, context: Context) -> None:
        async with aclosing(self._behaviour(request, context)) as messages:
            async for message in messages:
                await context.write(self._serialize(message))


def _same(value: Any) -> Any:
    return value


def _parent(context: Context) -> Any:
    for key, value in context.invocation_metadata() or ():
        if key == "traceparent":
            return tracing.context_from({key: value})
    return tracing.context_from({})


async def _abort(context: Context, error: CorkboardError) -> None:
    status = to_status(error)
    metadata = status.trailing_metadata
    if isinstance(error, Unavailable):
        metadata = (*metadata, _DO_NOT_RETRY_HERE)
    await context.abort(status.code, status.message, metadata)
