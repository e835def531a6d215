"""A small real gRPC world for tests: one scripted servicer behind a real door on a free port."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from chassis.deadline import Deadline
from chassis.grpc.client import ChannelPool
from chassis.grpc.server import GrpcDoor
from chassis.health import Health
from chassis.metrics import Metrics
from protos.quota.v1 import quota_pb2 as pb
from protos.quota.v1 import quota_pb2_grpc as rpc

SERVICE = "corkboard.quota.v1.QuotaService"
GET_RULE = f"{SERVICE}/GetRule"
Behaviour = Callable[[Any], Awaitable[Any]]


async def answer_with_key(request: Any) -> Any:
    """What GetRule does unless told otherwise."""
    return _rule(request.key)


_UnimplementedQuota: Any = rpc.QuotaServiceServicer  # methods are left out on purpose


class ScriptedQuota(_UnimplementedQuota):  # type: ignore[misc]
    """GetRule does what `behaviour` says; WatchRules counts up until it is stopped."""

    def __init__(self, behaviour: Behaviour = answer_with_key) -> None:
        self.behaviour = behaviour
        self.num_calls = 0
        self._called = asyncio.Condition()

    async def wait_for_calls(self, num_calls: int) -> None:
        """Return once GetRule was called this often."""
        async with self._called:
            await self._called.wait_for(lambda: self.num_calls >= num_calls)

    async def GetRule(self, request: Any, context: Any) -> Any:
        async with self._called:
            self.num_calls += 1
            self._called.notify_all()
        return await self.behaviour(request)

    async def WatchRules(self, request: Any, context: Any) -> AsyncIterator[Any]:
        number = 0
        while True:
            yield _rule(str(number))
            number += 1
            await asyncio.sleep(0.01)


@asynccontextmanager
async def serving(servicer: Any, *, grace_s: float = 1.0, **options: Any) -> AsyncIterator[GrpcDoor]:
    """A started door with `servicer`; stopped at the end."""
    options.setdefault("health", Health())
    options.setdefault("metrics", Metrics("test"))
    door = GrpcDoor([(rpc.add_QuotaServiceServicer_to_server, servicer, SERVICE)], **options)
    async with asyncio.TaskGroup() as tasks:
        await door.start(tasks)
        try:
            yield door
        finally:
            await door.stop(Deadline.after(grace_s))


@asynccontextmanager
async def calling(target: str, **options: Any) -> AsyncIterator[ChannelPool]:
    """A pool to `target`; closed at the end."""
    pool = ChannelPool(target, **options)
    try:
        yield pool
    finally:
        await pool.stop(Deadline.after(1.0))


async def get_rule(pool: ChannelPool, key: str = "a/b", timeout_s: float = 2.0) -> str:
    """The key GetRule answers with."""
    answer = await pool.call(rpc.QuotaServiceStub, "GetRule", pb.RuleRef(key=key), timeout_s=timeout_s)
    found: str = answer.rule_version.rule.key
    return found


def counted(metrics: Metrics, name: str, **labels: str) -> float:
    """A sample of `metrics`, 0 when there is none."""
    return metrics.registry.get_sample_value(name, labels) or 0.0


def _rule(key: str) -> Any:
    return pb.RuleResponse(rule_version=pb.RuleVersion(rule=pb.Rule(key=key)))
