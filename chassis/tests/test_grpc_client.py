"""Calls through a pool, over real gRPC: errors, time, zones, dead and restarted peers."""

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import grpc
import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from chassis import tracing
from chassis.deadline import Deadline, set_current_deadline
from chassis.errors import CorkboardError, DeadlineExceeded, Invalid, NotFound, Overloaded, Unavailable
from chassis.metrics import Metrics
from chassis.testing.ports import free_port
from chassis.tests.grpc_world import GET_RULE, ScriptedQuota, answer_with_key, calling, counted, get_rule, serving
from protos.quota.v1 import quota_pb2 as pb
from protos.quota.v1 import quota_pb2_grpc as rpc


async def test_call_returns_the_answer_and_is_counted() -> None:
    metrics = Metrics("test")
    async with serving(ScriptedQuota()) as door, calling(door.address, name="quota", metrics=metrics) as pool:
        assert await get_rule(pool, "a/b") == "a/b"
    assert counted(metrics, "grpc_client_calls_total", pool="quota", method=GET_RULE, code="OK") == 1


@pytest.mark.parametrize("error", [Invalid("i", field="key"), NotFound("n"), Overloaded("o", retry_after_s=0.5)])
async def test_peers_error_arrives_as_the_same_error(error: CorkboardError) -> None:
    async def fail(request: Any) -> Any:
        raise error

    async with serving(ScriptedQuota(fail)) as door, calling(door.address, name="quota") as pool:
        with pytest.raises(type(error)) as caught:
            await get_rule(pool)
    assert caught.value.field == error.field
    assert caught.value.retry_after_s == error.retry_after_s
    assert caught.value.message == f"quota: {error.message}"


async def test_stub_object_goes_through_the_pool() -> None:
    async with serving(ScriptedQuota()) as door, calling(door.address) as pool:
        stub: Any = pool.stub(rpc.QuotaServiceStub)
        answer = await stub.GetRule(pb.RuleRef(key="k"), timeout=1.0)
        assert answer.rule_version.rule.key == "k"
        with pytest.raises(NotFound):
            await stub.History(pb.RuleRef())


async def test_unknown_method_of_a_stub_is_invalid() -> None:
    async with calling("127.0.0.1:1") as pool:
        with pytest.raises(Invalid, match="NoSuch"):
            await pool.call(rpc.QuotaServiceStub, "NoSuch", pb.RuleRef())


async def test_stream_yields_messages_and_maps_its_error() -> None:
    async with serving(ScriptedQuota(), grace_s=5.0) as door, calling(door.address) as pool:
        keys = []
        with pytest.raises(Unavailable):
            async for answer in pool.stream(rpc.QuotaServiceStub, "WatchRules", pb.ListRulesRequest()):
                keys.append(answer.rule_version.rule.key)
                if len(keys) == 3:
                    await door.stop(Deadline.after(5.0))
    assert keys[:3] == ["0", "1", "2"]


async def test_dead_peer_fails_fast_with_unavailable() -> None:
    async with calling(f"127.0.0.1:{free_port()}") as pool, asyncio.timeout(1.5):
        with pytest.raises(Unavailable):
            await get_rule(pool, timeout_s=10.0)


async def test_slow_peer_ends_at_the_deadline() -> None:
    async def slow(request: Any) -> Any:
        await asyncio.sleep(30)

    async with serving(ScriptedQuota(slow), grace_s=0.0) as door, calling(door.address) as pool:
        with pytest.raises(DeadlineExceeded):
            await get_rule(pool, timeout_s=0.05)


async def test_no_time_left_sends_nothing() -> None:
    servicer = ScriptedQuota()
    async with serving(servicer) as door, calling(door.address) as pool:
        with pytest.raises(DeadlineExceeded):
            await pool.call(rpc.QuotaServiceStub, "GetRule", pb.RuleRef(), deadline=Deadline.after(0.0))
    assert servicer.num_calls == 0


async def test_call_spends_the_deadline_of_the_served_rpc() -> None:
    async def slow(request: Any) -> Any:
        await asyncio.sleep(30)

    async def inside_of_an_rpc(pool: Any) -> None:
        set_current_deadline(Deadline.after(0.05))
        await pool.call(rpc.QuotaServiceStub, "GetRule", pb.RuleRef())

    async with serving(ScriptedQuota(slow), grace_s=0.0) as door, calling(door.address) as pool:
        async with asyncio.timeout(1.0):
            with pytest.raises(DeadlineExceeded):
                await asyncio.create_task(inside_of_an_rpc(pool))


async def test_three_hundred_concurrent_calls_all_succeed_on_several_channels() -> None:
    async def slowish(request: Any) -> Any:
        await asyncio.sleep(0.1)
        return await answer_with_key(request)

    async with serving(ScriptedQuota(slowish)) as door, calling(door.address) as pool:
        limit_free = [get_rule(pool, str(n), 10.0) for n in range(240)]
        assert await asyncio.gather(*limit_free) == [str(n) for n in range(240)]


async def test_restarted_peer_is_used_again_within_two_seconds() -> None:
    async with serving(ScriptedQuota()) as door:
        port = door.port
        pool_context = calling(f"127.0.0.1:{port}")
        pool = await pool_context.__aenter__()
        await get_rule(pool)
    with pytest.raises(Unavailable):
        await get_rule(pool)
    async with serving(ScriptedQuota(), port=port):
        async with asyncio.timeout(2.0):
            while True:
                try:
                    await get_rule(pool)
                    break
                except Unavailable:
                    await asyncio.sleep(0.02)
        await pool_context.__aexit__(None, None, None)


async def test_calls_after_and_during_stop_raise_unavailable() -> None:
    async def slow(request: Any) -> Any:
        await asyncio.sleep(30)

    servicer = ScriptedQuota(slow)
    async with serving(servicer, grace_s=0.0) as door, calling(door.address) as pool:
        running = asyncio.ensure_future(get_rule(pool, timeout_s=20.0))
        await servicer.wait_for_calls(1)
        await pool.stop(Deadline.after(1.0))
        for call in (running, get_rule(pool)):
            with pytest.raises(Unavailable) as caught:
                await call
            assert caught.value.reason == "closed"


async def test_own_zone_is_preferred_and_crossing_is_counted() -> None:
    near, far, metrics = ScriptedQuota(), ScriptedQuota(), Metrics("test")
    async with serving(far) as far_door:
        async with serving(near) as near_door:
            target = f"{far_door.address}@b,{near_door.address}@a"
            context = calling(target, zone="a", name="q", metrics=metrics)
            pool = await context.__aenter__()
            for _ in range(20):
                await get_rule(pool)
            assert (near.num_calls, far.num_calls) == (20, 0)
            assert counted(metrics, "grpc_client_cross_zone_calls_total", pool="q") == 0
        for _ in range(20):
            await get_rule(pool)
        assert far.num_calls == 20
        assert counted(metrics, "grpc_client_cross_zone_calls_total", pool="q") == 20
        await context.__aexit__(None, None, None)


async def test_the_own_zone_is_connected_to_before_the_first_call() -> None:
    near, far = ScriptedQuota(), ScriptedQuota()
    async with AsyncExitStack() as stack:
        near_door, far_door = [await stack.enter_async_context(serving(one)) for one in (near, far)]
        pool = await stack.enter_async_context(calling(f"{near_door.address}@a,{far_door.address}@b", zone="a"))
        own, other = pool._caller._endpoints
        async with asyncio.timeout(5.0), asyncio.TaskGroup() as tasks:
            await pool.start(tasks)
            while own.channel().channel.get_state() is not grpc.ChannelConnectivity.READY:
                await asyncio.sleep(0.01)
        assert other._channels == [], "another zone is connected to when it is needed"
    assert near.num_calls == far.num_calls == 0


async def test_healed_own_zone_gets_its_calls_back() -> None:
    near_port = free_port()
    near, far = ScriptedQuota(), ScriptedQuota()
    async with serving(far) as far_door, calling(f"127.0.0.1:{near_port}@a,{far_door.address}@b", zone="a") as pool:
        await get_rule(pool)
        assert far.num_calls == 1
        async with serving(near, port=near_port), asyncio.timeout(4.0):
            while not near.num_calls:
                await get_rule(pool)
                await asyncio.sleep(0.02)


async def test_failing_endpoint_costs_no_client_error_while_the_budget_lasts() -> None:
    async def fail(request: Any) -> Any:
        raise Unavailable("its database is away")

    sick, well, metrics = ScriptedQuota(fail), ScriptedQuota(), Metrics("test")
    async with (
        serving(sick) as sick_door,
        serving(well) as well_door,
        calling(f"{sick_door.address},{well_door.address}", name="q", metrics=metrics) as pool,
    ):
        for _ in range(60):
            await get_rule(pool)
    assert sick.num_calls == 5
    assert counted(metrics, "grpc_client_ejections_total", pool="q") == 1
    assert counted(metrics, "grpc_client_retries_total", pool="q") == 5


async def test_dependency_failure_everywhere_is_not_multiplied() -> None:
    async def fail(request: Any) -> Any:
        raise Unavailable("its database is away")

    servicers = [ScriptedQuota(fail) for _ in range(4)]
    async with AsyncExitStack() as stack:
        doors = [await stack.enter_async_context(serving(servicer)) for servicer in servicers]
        pool = await stack.enter_async_context(calling(",".join(door.address for door in doors)))
        for _ in range(100):
            with pytest.raises(Unavailable):
                await get_rule(pool)
    num_retries = sum(servicer.num_calls for servicer in servicers) - 100
    assert 10 <= num_retries <= 10 + 0.1 * 100


async def test_living_peer_is_not_asked_again_for_its_own_unavailable() -> None:
    async def fail(request: Any) -> Any:
        raise Unavailable("its database is away")

    servicer = ScriptedQuota(fail)
    async with serving(servicer) as door, calling(door.address) as pool:
        with pytest.raises(Unavailable):
            await get_rule(pool)
    assert servicer.num_calls == 1


async def test_hedge_answers_when_the_first_endpoint_hangs() -> None:
    async def slow(request: Any) -> Any:
        await asyncio.sleep(30)

    servicers = [ScriptedQuota(slow), ScriptedQuota()]
    metrics = Metrics("test")
    async with (
        serving(servicers[0], grace_s=0.0) as one,
        serving(servicers[1]) as two,
        calling(f"{one.address}@a,{two.address}@b", zone="a", name="q", metrics=metrics) as pool,
        asyncio.timeout(2.0),
    ):
        answer = await pool.hedged(
            rpc.QuotaServiceStub, "GetRule", pb.RuleRef(key="k"), hedge_after_s=0.02, timeout_s=5.0
        )
    assert answer.rule_version.rule.key == "k"
    assert counted(metrics, "grpc_client_hedges_total", pool="q") == 1


async def test_fast_read_is_not_hedged() -> None:
    servicer = ScriptedQuota()
    async with serving(servicer) as door, calling(door.address) as pool:
        await pool.hedged(rpc.QuotaServiceStub, "GetRule", pb.RuleRef(), hedge_after_s=1.0, timeout_s=5.0)
    assert servicer.num_calls == 1


async def test_trace_goes_from_the_caller_through_its_client_span_to_the_server() -> None:
    exporter = InMemorySpanExporter()
    part = tracing.Tracing("test", "test-1", "", 1.0, exporter=exporter)
    async with asyncio.TaskGroup() as tasks:
        await part.start(tasks)
    async with serving(ScriptedQuota()) as door, calling(door.address) as pool:
        with tracing.span("caller"):
            await get_rule(pool)
    await part.stop(Deadline.after(2.0))
    spans = exporter.get_finished_spans()
    by_kind = {span.kind: span for span in spans}
    assert [span.name for span in spans] == [GET_RULE, GET_RULE, "caller"]
    assert _parent_id(by_kind[SpanKind.SERVER]) == _id(by_kind[SpanKind.CLIENT])
    assert _parent_id(by_kind[SpanKind.CLIENT]) == _id(by_kind[SpanKind.INTERNAL])
    assert _parent_id(by_kind[SpanKind.INTERNAL]) is None


def _id(span: ReadableSpan) -> int:
    context = span.get_span_context()
    assert context is not None
    return context.span_id


def _parent_id(span: ReadableSpan) -> int | None:
    return span.parent.span_id if span.parent else None
