"""One RPC sent to one of several endpoints: span, metrics, deadline, failover, chassis errors only."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from time import perf_counter
from typing import Any

from grpc import aio

from chassis import tracing
from chassis.criticality import criticality_headers
from chassis.deadline import Deadline
from chassis.errors import CorkboardError, DeadlineExceeded, Unavailable
from chassis.grpc.endpoint import Endpoint
from chassis.grpc.hedging import HedgeDelay, first_good
from chassis.grpc.picker import Picker
from chassis.grpc.rpc_metrics import ClientMetrics, Recorder
from chassis.grpc.status import from_rpc_error
from chassis.grpc.stub_methods import StubMethod
from chassis.retry import RetryBudget


class Caller:
    """Makes the calls of a pool, until `close`."""

    def __init__(self, name: str, endpoints: Sequence[Endpoint], picker: Picker, metrics: ClientMetrics) -> None:
        self._name = name
        self._endpoints = endpoints
        self._picker = picker
        self._metrics = metrics
        self._budget = RetryBudget()
        self._recorders: dict[str, Recorder] = {}
        self._delays: dict[str, HedgeDelay] = {}
        self._is_closed = False

    def connect(self) -> None:
        """Begin to connect to the own zone, so that the first calls do not spend their time on it."""
        for endpoint in self._endpoints:
            if self._picker.is_own_zone(endpoint):
                endpoint.connect()

    async def close(self) -> None:
        """Close every channel; running and later calls raise Unavailable."""
        self._is_closed = True
        for endpoint in self._endpoints:
            await endpoint.close()

    async def renew(self) -> None:
        """Send later calls over new channels; running ones end on the old."""
        await asyncio.gather(*(endpoint.renew() for endpoint in self._endpoints))

    async def call(self, method: StubMethod, request: Any, deadline: Deadline) -> Any:
        """The answer; after UNAVAILABLE tried once on another endpoint, out of the budget."""
        endpoint = self._picker.pick()
        self._budget.earn()
        try:
            return await self._attempt(method, request, deadline, endpoint)
        except Unavailable:
            other = self._picker.pick_other(endpoint)
            if other is None or self._is_closed or deadline.remaining_s() <= 0 or not self._budget.spend():
                raise
        self._metrics.retries.inc()
        return await self._attempt(method, request, deadline, other)

    async def hedged(self, method: StubMethod, request: Any, deadline: Deadline, after_s: float | None) -> Any:
        """The answer of the faster of two attempts, the second out of the budget; `call` where there is no other."""
        first = self._picker.pick()
        second = self._picker.pick_other(first) or (first if first.address.may_be_many else None)
        if second is None:
            return await self.call(method, request, deadline)
        self._budget.earn()
        if after_s is None:
            after_s = self._delay(method).seconds(deadline.remaining_s(), is_far=not self._picker.is_own_zone(second))
        return await first_good(
            lambda: self._timed(method, request, deadline, first),
            lambda: self._overtaking(method, request, deadline, second, first),
            after_s=after_s,
            may_hedge=self._may_hedge,
        )

    async def _timed(self, method: StubMethod, request: Any, deadline: Deadline, endpoint: Endpoint) -> Any:
        started_s = perf_counter()
        answer = await self._attempt(method, request, deadline, endpoint)
        self._delay(method).record(perf_counter() - started_s)
        return answer

    async def _overtaking(
        self, method: StubMethod, request: Any, deadline: Deadline, endpoint: Endpoint, slower: Endpoint
    ) -> Any:
        """The second attempt; one that answers first speaks against the endpoint of the other."""
        answer = await self._attempt(method, request, deadline, endpoint)
        self._picker.report(slower, DeadlineExceeded(f"{self._name}: slower than a second attempt"))
        return answer

    async def stream(self, method: StubMethod, request: Any, timeout_s: float | None) -> AsyncIterator[Any]:
        """The messages of a response stream."""
        self._check_open()
        endpoint = self._picker.pick()
        channel = endpoint.channel()
        channel.in_flight += 1
        try:
            headers = (*tracing.inject_headers().items(), *criticality_headers())
            async for message in channel.callable_of(method)(request, timeout=timeout_s, metadata=headers):
                yield message
        except aio.AioRpcError as error:
            raise self._failure(error, endpoint) from error
        finally:
            channel.in_flight -= 1

    async def _attempt(self, method: StubMethod, request: Any, deadline: Deadline, endpoint: Endpoint) -> Any:
        started_s = perf_counter()
        code = "CANCELLED"
        try:
            with tracing.span(method.name, kind="client"):
                answer = await self._send(method, request, deadline, endpoint)
            code = "OK"
            return answer
        except CorkboardError as error:
            code = error.status
            raise
        finally:
            self._recorder(method.name)(code, perf_counter() - started_s)

    async def _send(self, method: StubMethod, request: Any, deadline: Deadline, endpoint: Endpoint) -> Any:
        self._check_open()
        timeout_s = deadline.remaining_s()
        if timeout_s <= 0:
            raise DeadlineExceeded(f"no time left to call {method.name}")
        if not self._picker.is_own_zone(endpoint):
            self._metrics.cross_zone.inc()
        channel = endpoint.channel()
        channel.in_flight += 1
        try:
            headers = (*tracing.inject_headers().items(), *criticality_headers())
            answer = await channel.callable_of(method)(request, timeout=timeout_s, metadata=headers)
        except aio.AioRpcError as error:
            raise self._failure(error, endpoint) from error
        except asyncio.CancelledError as error:
            raise self._cancellation() or error from None
        finally:
            channel.in_flight -= 1
        self._picker.report(endpoint, None)
        return answer

    def _failure(self, error: aio.AioRpcError, endpoint: Endpoint) -> CorkboardError:
        failure = from_rpc_error(error, peer=self._name)
        self._picker.report(endpoint, failure)
        return failure

    def _cancellation(self) -> Unavailable | None:
        """Closing a channel cancels its calls; a caller that was not cancelled itself must see an error instead."""
        task = asyncio.current_task()
        if self._is_closed and task is not None and not task.cancelling():
            return Unavailable(f"{self._name}: the channel was closed during the call", reason="closed")
        return None

    def _check_open(self) -> None:
        if self._is_closed:
            raise Unavailable(f"{self._name}: the channel is closed", reason="closed")

    def _may_hedge(self) -> bool:
        if not self._budget.spend():
            return False
        self._metrics.hedges.inc()
        return True

    def _delay(self, method: StubMethod) -> HedgeDelay:
        return self._delays.setdefault(method.name, HedgeDelay())

    def _recorder(self, method: str) -> Recorder:
        recorder = self._recorders.get(method)
        if recorder is None:
            recorder = self._recorders[method] = self._metrics.recorder(method)
        return recorder
