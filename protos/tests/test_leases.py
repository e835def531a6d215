"""A lease client stays with the quota process that leads, and finds the next one when it does not."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import grpc
import pytest
from grpc import aio

from chassis.errors import NotFound, Unavailable
from chassis.grpc.client import ChannelPool
from protos import leases
from protos.leases import GrpcLeaseSource
from protos.quota.v1 import quota_pb2 as pb
from protos.quota.v1 import quota_pb2_grpc as rpc


class Plane(rpc.LeaseServiceServicer):
    """One quota process: leads, stands by, or is silent."""

    def __init__(self) -> None:
        self.leads = False
        self.is_silent = False
        self.num_calls = 0

    async def Acquire(self, request: pb.AcquireRequest, context: Any) -> pb.Lease:
        self.num_calls += 1
        if self.is_silent:
            await asyncio.sleep(30)
        if request.key == "nothing":
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such rule")
        if not self.leads:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "stands by", (("grpc-retry-pushback-ms", "-1"),))
        return pb.Lease(lease_id="x", key=request.key, rate=1.0, burst=1.0, duration_ms=10_000, epoch=1)

    async def Renew(self, request: pb.RenewRequest, context: Any) -> pb.Lease:
        raise AssertionError("nothing is renewed here")

    async def Release(self, request: pb.ReleaseRequest, context: Any) -> pb.ReleaseResponse:
        raise AssertionError("nothing is given back here")


class Fleet:
    """Two planes and a client."""

    def __init__(self, planes: list[Plane], source: GrpcLeaseSource) -> None:
        self.planes, self.source = planes, source

    def lead(self, number: int) -> None:
        for place, plane in enumerate(self.planes):
            plane.leads = place == number
            plane.num_calls = 0

    async def ask(self, key: str = "a") -> float:
        return (await self.source.acquire(key, key, 1.0)).rate_per_s

    @property
    def calls(self) -> list[int]:
        return [plane.num_calls for plane in self.planes]


@pytest.fixture
async def fleet() -> AsyncIterator[Fleet]:
    async with AsyncExitStack() as stack:
        planes, pools = [Plane(), Plane()], []
        for plane in planes:
            server = aio.server()
            rpc.add_LeaseServiceServicer_to_server(plane, server)
            pools.append(ChannelPool(f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"))
            await server.start()
            stack.push_async_callback(server.stop, 0)
        yield Fleet(planes, GrpcLeaseSource(pools, "client"))


async def test_calls_stay_with_the_leader_and_follow_it(fleet: Fleet) -> None:
    for leader in (1, 0, 1):
        fleet.lead(leader)
        for _ in range(10):
            assert await fleet.ask() == 1.0
        assert fleet.calls[leader] == 10
        assert fleet.calls[1 - leader] <= 1, "one call finds out that the other leads now"


async def test_silent_process_costs_one_late_call(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "CALL_S", 0.4)
    fleet.lead(1)
    fleet.planes[0].is_silent = True
    for _ in range(5):
        assert await fleet.ask() == 1.0
    assert fleet.calls == [1, 5]


async def test_nobody_leads_is_unavailable_and_an_answer_is_an_answer(fleet: Fleet) -> None:
    fleet.lead(-1)
    with pytest.raises(Unavailable):
        await fleet.ask()
    assert sum(fleet.calls) <= 3
    fleet.lead(0)
    await fleet.ask()
    with pytest.raises(NotFound):
        await fleet.ask("nothing")
    assert await fleet.ask() == 1.0
