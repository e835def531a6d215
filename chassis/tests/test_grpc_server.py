"""What callers of a door see, over real gRPC."""

import asyncio
import gzip
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from chassis.deadline import Deadline, current_deadline
from chassis.errors import Invalid, Overloaded, Unavailable
from chassis.grpc.limits import MethodLimit, ServerLimits
from chassis.grpc.server import GrpcDoor
from chassis.grpc.status import DETAILS_KEY
from chassis.health import Health
from chassis.metrics import Metrics
from chassis.testing import eventually
from chassis.tests.grpc_world import GET_RULE, SERVICE, ScriptedQuota, answer_with_key, counted, serving
from protos.quota.v1 import quota_pb2 as pb
from protos.quota.v1 import quota_pb2_grpc as rpc


async def _raw_call(
    door: GrpcDoor, request: bytes = b"", *, method: str = "GetRule", timeout: float | None = 2.0, **options: Any
) -> bytes:
    async with aio.insecure_channel(door.address) as channel:
        call: Any = channel.unary_unary(f"/{SERVICE}/{method}")
        answer: bytes = await call(request, timeout=timeout, **options)
        return answer


async def _error_of(door: GrpcDoor, request: bytes = b"", **options: Any) -> aio.AioRpcError:
    with pytest.raises(aio.AioRpcError) as caught:
        await _raw_call(door, request, **options)
    return caught.value


def _details(error: aio.AioRpcError) -> list[Any]:
    metadata = dict(error.trailing_metadata() or ())
    return list(status_pb2.Status.FromString(metadata[DETAILS_KEY]).details)


async def test_request_is_answered_and_counted() -> None:
    metrics = Metrics("test")
    async with serving(ScriptedQuota(), metrics=metrics) as door:
        answer = pb.RuleResponse.FromString(await _raw_call(door, pb.RuleRef(key="a").SerializeToString()))
        assert answer.rule_version.rule.key == "a"
        assert counted(metrics, "grpc_server_calls_total", method=GET_RULE, code="OK") == 1
        assert counted(metrics, "grpc_server_duration_seconds_count", method=GET_RULE) == 1
        assert counted(metrics, "grpc_server_in_flight") == 0


@pytest.mark.parametrize("request_bytes", [b"\xff\xff\xff", b"\x0a\xff", b"\x0a\x02\xff\xfe", b"\x0b" * 500])
async def test_malformed_request_is_invalid_argument_and_the_next_call_works(request_bytes: bytes) -> None:
    metrics = Metrics("test")
    async with serving(ScriptedQuota(), metrics=metrics) as door:
        error = await _error_of(door, request_bytes)
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "Error parsing" not in (error.details() or "")
        refused = {"method": GET_RULE, "code": "INVALID_ARGUMENT"}  # counted once the refusal is on its way
        await eventually(lambda: counted(metrics, "grpc_server_calls_total", **refused) == 1)
        await _raw_call(door)


async def test_invalid_names_field_and_reason() -> None:
    async def refuse(request: Any) -> Any:
        raise Invalid("key is empty", field="key", reason="empty")

    async with serving(ScriptedQuota(refuse)) as door:
        error = await _error_of(door)
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    details = _details(error)
    assert details[0].Unpack(info) and details[1].Unpack(bad)
    assert (info.reason, info.domain, bad.field_violations[0].field) == ("empty", "corkboard", "key")
    assert error.details() == "key is empty"


@pytest.mark.parametrize("character", ["x", "\n", "é", "\U0010ffff", "\ud800"])
async def test_a_refusal_fits_into_metadata_whatever_it_repeats_of_the_input(character: str) -> None:
    async def refuse(request: Any) -> Any:
        raise Invalid(character * 100_000, field=character * 100_000)

    async with serving(ScriptedQuota(refuse)) as door:
        assert (await _error_of(door)).code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_bug_answers_a_correlation_id_and_nothing_else(capfd: pytest.CaptureFixture[str]) -> None:
    async def crash(request: Any) -> Any:
        raise ValueError("password=hunter2")

    async with serving(ScriptedQuota(crash)) as door:
        error = await _error_of(door)
    assert error.code() is grpc.StatusCode.INTERNAL
    assert "hunter2" not in str(error) and "ValueError" not in str(error)
    correlation_id = (error.details() or "").rpartition(" ")[2]
    assert len(correlation_id) == 32
    captured = capfd.readouterr()
    assert (captured.out + captured.err).count(correlation_id) == 1


async def test_wrong_type_of_answer_is_a_bug_too() -> None:
    async def wrong(request: Any) -> Any:
        return "no message"

    async with serving(ScriptedQuota(wrong)) as door:
        error = await _error_of(door)
    assert error.code() is grpc.StatusCode.INTERNAL
    assert "str" not in (error.details() or "").split()


async def test_method_without_code_is_unimplemented() -> None:
    async with serving(ScriptedQuota()) as door:
        assert (await _error_of(door, method="History")).code() is grpc.StatusCode.UNIMPLEMENTED
        assert (await _error_of(door, method="NoSuchMethod")).code() is grpc.StatusCode.UNIMPLEMENTED


async def test_call_without_deadline_gets_the_method_limit() -> None:
    seen: list[float] = []

    async def slow(request: Any) -> Any:
        seen.append(current_deadline(99.0).remaining_s())
        await asyncio.sleep(30)

    limits = ServerLimits(methods={"GetRule": MethodLimit(timeout_s=0.05)})
    async with serving(ScriptedQuota(slow), limits=limits) as door:
        error = await _error_of(door, timeout=None)
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert 0 < seen[0] <= 0.05


@pytest.mark.parametrize(("client_s", "limit_s"), [(0.5, 5.0), (5.0, 0.5)])
async def test_deadline_is_the_clients_capped_by_the_method(client_s: float, limit_s: float) -> None:
    seen: list[float] = []

    async def look(request: Any) -> Any:
        seen.append(current_deadline(99.0).remaining_s())
        return pb.RuleResponse()

    limits = ServerLimits(default=MethodLimit(timeout_s=limit_s))
    async with serving(ScriptedQuota(look), limits=limits) as door:
        await _raw_call(door, timeout=client_s)
    assert 0.3 < seen[0] <= 0.5


async def test_a_timeout_inside_the_handler_is_a_bug_and_not_the_callers_deadline() -> None:
    async def crash(request: Any) -> Any:
        raise TimeoutError("of something else")

    async with serving(ScriptedQuota(crash)) as door:
        assert (await _error_of(door)).code() is grpc.StatusCode.INTERNAL


async def test_full_method_answers_resource_exhausted_with_retry_info() -> None:
    release = asyncio.Event()

    async def wait(request: Any) -> Any:
        await release.wait()
        return pb.RuleResponse()

    servicer = ScriptedQuota(wait)
    limits = ServerLimits(methods={GET_RULE: MethodLimit(max_concurrent=2)})
    async with serving(servicer, limits=limits) as door, asyncio.TaskGroup() as group:
        for _ in range(2):
            group.create_task(_raw_call(door))
        await servicer.wait_for_calls(2)
        error = await _error_of(door)
        release.set()
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert any(detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR) for detail in _details(error))
    assert dict(error.trailing_metadata() or ())["retry-after"] == "1"


async def test_overloaded_quota_returns_retry_after_and_the_level() -> None:
    class Empty:
        def admit(self, resource: str, cost: float = 1.0) -> None:
            raise Overloaded(f"{resource} costs {cost}", field="surface/*", retry_after_s=0.25)

    def resource_of(method: str, request: Any) -> tuple[str, float] | None:
        return (f"{method}/{request.key}", 3.0) if request.key else None

    async with serving(ScriptedQuota(), admitter=Empty(), resource_of=resource_of) as door:
        error = await _error_of(door, pb.RuleRef(key="tenant").SerializeToString())
        await _raw_call(door)
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert error.details() == f"{GET_RULE}/tenant/default costs 3.0"
    info, retry_info = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    details = _details(error)
    assert details[0].Unpack(info) and details[1].Unpack(retry_info)
    assert info.metadata["field"] == "surface/*"
    assert retry_info.retry_delay.ToNanoseconds() == 250_000_000


async def test_request_over_the_method_limit_is_refused() -> None:
    limits = ServerLimits(methods={"GetRule": MethodLimit(max_request_bytes=1000)})
    async with serving(ScriptedQuota(), limits=limits) as door:
        error = await _error_of(door, pb.RuleRef(key="x" * 2000).SerializeToString())
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        await _raw_call(door, pb.RuleRef(key="x" * 900).SerializeToString())


async def test_oversized_request_and_gzip_bomb_are_refused() -> None:
    limits = ServerLimits(default=MethodLimit(max_request_bytes=100_000))
    bomb = pb.RuleRef(key="x" * 5_000_000).SerializeToString()
    assert len(gzip.compress(bomb)) < 100_000
    async with serving(ScriptedQuota(), limits=limits) as door:
        for options in ({}, {"compression": grpc.Compression.Gzip}):
            error = await _error_of(door, bomb, **options)
            assert error.code() in (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.INVALID_ARGUMENT)
        await _raw_call(door)


async def test_metadata_over_8_kb_is_refused() -> None:
    async with serving(ScriptedQuota()) as door:
        error = await _error_of(door, metadata=(("x-big", "y" * 9000),))
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert (error.details() or "").startswith("metadata of 9")
        error = await _error_of(door, metadata=(("x-far-too-big", "y" * 20_000),))
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        await _raw_call(door, metadata=(("x-fine", "y" * 4000),))


@pytest.mark.parametrize(
    "traceparent", ["", "junk", "00-zz-zz-01", "00-" + "0" * 32 + "-" + "0" * 16 + "-01", "x" * 500]
)
async def test_invalid_traceparent_is_ignored(traceparent: str) -> None:
    async with serving(ScriptedQuota()) as door:
        await _raw_call(door, metadata=(("traceparent", traceparent),))


async def test_limit_for_an_unknown_method_fails_the_start() -> None:
    with pytest.raises(ExceptionGroup) as caught:
        async with serving(ScriptedQuota(), limits=ServerLimits(methods={"GetRul": MethodLimit()})):
            pass
    assert "GetRul" in str(caught.value.exceptions[0])


async def test_taken_port_fails_the_start() -> None:
    async with serving(ScriptedQuota()) as door:
        with pytest.raises(ExceptionGroup) as caught:
            async with serving(ScriptedQuota(), port=door.port):
                pass
    assert isinstance(caught.value.exceptions[0], Unavailable)


async def test_stream_goes_on_until_the_client_leaves() -> None:
    async with serving(ScriptedQuota()) as door, aio.insecure_channel(door.address) as channel:
        stub: Any = rpc.QuotaServiceStub(channel)
        call = stub.WatchRules(pb.ListRulesRequest())
        keys = [(await call.read()).rule_version.rule.key for _ in range(3)]
        call.cancel()
    assert keys == ["0", "1", "2"]


async def test_stop_ends_streams_at_once_with_unavailable() -> None:
    async with serving(ScriptedQuota(), grace_s=10.0) as door, aio.insecure_channel(door.address) as channel:
        stub: Any = rpc.QuotaServiceStub(channel)
        call = stub.WatchRules(pb.ListRulesRequest())
        await call.read()
        async with asyncio.timeout(2.0):
            await door.stop(Deadline.after(10.0))
        with pytest.raises(aio.AioRpcError) as caught:
            while True:
                await call.read()
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_stop_lets_running_calls_finish() -> None:
    started = asyncio.Event()

    async def slow(request: Any) -> Any:
        started.set()
        await asyncio.sleep(0.2)
        return await answer_with_key(request)

    health = Health()
    async with serving(ScriptedQuota(slow), health=health) as door, asyncio.TaskGroup() as group:
        call = group.create_task(_raw_call(door))
        await started.wait()
        await door.stop(Deadline.after(5.0))
        assert not health.is_ready()
        await door.stop(Deadline.after(5.0))
    assert call.result() is not None


async def test_health_follows_the_service_and_its_draining() -> None:
    health = Health()
    states = health_pb2.HealthCheckResponse
    async with serving(ScriptedQuota(), health=health) as door, aio.insecure_channel(door.address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        for name in ("", SERVICE):
            assert (await stub.Check(health_pb2.HealthCheckRequest(service=name))).status == states.SERVING
        with pytest.raises(aio.AioRpcError) as caught:
            await stub.Check(health_pb2.HealthCheckRequest(service="corkboard.nothing"))
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        watch = stub.Watch(health_pb2.HealthCheckRequest(service=SERVICE))
        assert (await watch.read()).status == states.SERVING
        health.set("redis", False, "away")
        assert (await watch.read()).status == states.NOT_SERVING
        health.set("redis", True)
        assert (await watch.read()).status == states.SERVING
        await door.stop(Deadline.after(5.0))
        assert (await watch.read()).status == states.NOT_SERVING
        assert await watch.read() is aio.EOF


@pytest.mark.parametrize("is_enabled", [True, False])
async def test_reflection_lists_services_only_when_enabled(is_enabled: bool) -> None:
    async with (
        serving(ScriptedQuota(), is_reflection_enabled=is_enabled) as door,
        aio.insecure_channel(door.address) as channel,
    ):
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        call = stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
        if is_enabled:
            names = {service.name for service in (await call.read()).list_services_response.service}
            assert {SERVICE, "grpc.health.v1.Health"} <= names
        else:
            with pytest.raises(aio.AioRpcError) as caught:
                await call.read()
            assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
