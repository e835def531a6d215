"""Calls to a peer service: several channels, zones, ejection of sick endpoints, chassis errors only."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

from chassis.clock import SYSTEM_CLOCK, Clock
from chassis.deadline import Deadline, current_deadline
from chassis.grpc.caller import Caller
from chassis.grpc.endpoint import Endpoint
from chassis.grpc.options import channel_options
from chassis.grpc.picker import Picker
from chassis.grpc.rpc_metrics import ClientMetrics
from chassis.grpc.stub_methods import Stub, StubMethod, method_of
from chassis.grpc.target import parse_target
from chassis.metrics import Metrics
from chassis.tls import CertificateSource

T = TypeVar("T")
# For calls made outside of a served RPC that name no time themselves.
DEFAULT_TIMEOUT_S = 2.0


class ChannelPool:
    """A part through which one peer service is called; `target` is "host:port@zone,host:port@other-zone".

    UNAVAILABLE is retried: by gRPC itself (service config, throttled) when there is one address, which may be a DNS
    name with many; else once on another endpoint, out of a budget. Every other error goes to the caller at once.
    Channels to the own zone open at the start and are not waited for, so a dead peer never blocks it. With
    `certificates` both sides show theirs, and the peer's must name the host of its address; when they change, new calls
    go over new connections.
    """

    def __init__(
        self,
        target: str,
        *,
        zone: str = "",
        name: str = "",
        metrics: Metrics | None = None,
        clock: Clock = SYSTEM_CLOCK,
        certificates: CertificateSource | None = None,
    ) -> None:
        addresses = parse_target(target)
        options = channel_options(has_retries=len(addresses) == 1)
        endpoints = [Endpoint(address, options, certificates) for address in addresses]
        self.name = name or target
        client_metrics = ClientMetrics(metrics or Metrics(self.name), self.name)
        picker = Picker(endpoints, zone, clock, client_metrics.ejections.inc)
        self._caller = Caller(self.name, endpoints, picker, client_metrics)
        self._clock = clock
        if certificates is not None:
            certificates.follow(self._caller.renew)

    async def start(self, tasks: asyncio.TaskGroup) -> None:  # noqa: ARG002 - it waits for nothing
        """Nothing to wait for: channels to the own zone begin to open, the others with their first calls."""
        self._caller.connect()

    async def stop(self, deadline: Deadline) -> None:  # noqa: ARG002 - closing does not wait
        """Close every channel; running and later calls raise Unavailable."""
        await self._caller.close()

    async def call(
        self,
        stub: Stub,
        method: str,
        request: Any,
        *,
        deadline: Deadline | None = None,
        timeout_s: float | None = None,
    ) -> Any:
        """The answer of a unary method of a generated stub class.

        Time: the earlier of `deadline` and `timeout_s`; without both, the deadline of the RPC being served.

        Raises: the chassis error the peer answered with; Unavailable; DeadlineExceeded.
        """
        return await self._caller.call(method_of(stub, method), request, self._until(deadline, timeout_s))

    async def hedged(
        self,
        stub: Stub,
        method: str,
        request: Any,
        *,
        hedge_after_s: float | None = None,
        deadline: Deadline | None = None,
        timeout_s: float | None = None,
    ) -> Any:
        """As `call`, with a second attempt on another endpoint when the first takes longer than `hedge_after_s`.

        Without that time, longer than 99 of 100 answers of the method lately. Only for reads: both attempts may be
        carried out. Second attempts come out of the retry budget; an endpoint that keeps losing to them is ejected.
        """
        until = self._until(deadline, timeout_s)
        return await self._caller.hedged(method_of(stub, method), request, until, hedge_after_s)

    def stream(self, stub: Stub, method: str, request: Any, *, timeout_s: float | None = None) -> AsyncIterator[Any]:
        """The messages of a server-streaming method, until it ends; no retry, no time limit unless given.

        Raises: as `call`, while iterating.
        """
        return self._caller.stream(method_of(stub, method), request, timeout_s)

    def stub(self, stub: Callable[[Any], T]) -> T:
        """A stub object of the generated class whose methods go through this pool; `timeout=` is in seconds."""
        return stub(_PoolAsChannel(self._caller, self._until))

    def _until(self, deadline: Deadline | None, timeout_s: float | None) -> Deadline:
        if deadline is None:
            if timeout_s is not None:
                return Deadline.after(timeout_s, self._clock)
            return current_deadline(DEFAULT_TIMEOUT_S)
        return deadline if timeout_s is None else deadline.capped(timeout_s)


class _PoolAsChannel:
    """What a generated stub sees as its channel."""

    def __init__(self, caller: Caller, until: Callable[[Deadline | None, float | None], Deadline]) -> None:
        self._caller = caller
        self._until = until

    def unary_unary(self, path: str, **codecs: Any) -> Callable[..., Any]:
        """What calls a unary method."""
        method = StubMethod.of(path, codecs, is_response_stream=False)

        async def call(request: Any, timeout: float | None = None) -> Any:
            return await self._caller.call(method, request, self._until(None, timeout))

        return call

    def unary_stream(self, path: str, **codecs: Any) -> Callable[..., AsyncIterator[Any]]:
        """What calls a server-streaming method."""
        method = StubMethod.of(path, codecs, is_response_stream=True)

        def call(request: Any, timeout: float | None = None) -> AsyncIterator[Any]:
            return self._caller.stream(method, request, timeout)

        return call
