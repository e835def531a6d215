"""grpc.health.v1 for one door, following the service's own health.

Written here because the stock servicer keeps states it has to be told, and this one asks: an answer is never stale.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

SERVICE_NAME: str = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
# A watcher (a load balancer) learns of a change this late at most.
_WATCH_PERIOD_S = 0.25


class HealthServicer(health_pb2_grpc.HealthServicer):  # type: ignore[misc]
    """Answers for each served name and for "" (the whole server)."""

    def __init__(self, services: Iterable[str], is_ready: Callable[[], bool]) -> None:
        self._services = {"", SERVICE_NAME, *services}
        self._is_ready = is_ready
        self._draining = asyncio.Event()

    def drain(self) -> None:
        """NOT_SERVING from now on, whatever the service's health says."""
        self._draining.set()

    async def Check(self, request: Any, context: Any) -> Any:
        """The state of one name; NOT_FOUND for one that is not served."""
        if request.service not in self._services:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"{request.service[:100]} is not served here")
        return health_pb2.HealthCheckResponse(status=self._status(request.service))

    async def Watch(self, request: Any, context: Any) -> AsyncIterator[Any]:  # noqa: ARG002 - named by the contract
        """The state of one name now and after each change; ends when the server drains."""
        last = None
        while True:
            is_last = self._draining.is_set()
            status = self._status(request.service)
            if status != last:
                last = status
                yield health_pb2.HealthCheckResponse(status=status)
            if is_last:
                return
            await self._pause()

    def _status(self, service: str) -> int:
        states = health_pb2.HealthCheckResponse
        if service not in self._services:
            return int(states.SERVICE_UNKNOWN)
        is_serving = self._is_ready() and not self._draining.is_set()
        return int(states.SERVING if is_serving else states.NOT_SERVING)

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(_WATCH_PERIOD_S):
                await self._draining.wait()
        except TimeoutError:
            return
