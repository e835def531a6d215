"""Hostile calls to every method of every service: a clear status, a counter moves, the next good call works."""

import asyncio
import math
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf.message import Message
from grpc import aio

from chassis.grpc.limits import MAX_METADATA_BYTES
from e2e.hostile.messages import Hostile, broken, changed
from e2e.hostile.requests import METHODS, Good, good_requests, process_of
from e2e.hostile.watch import Watch, counted
from e2e.house import House
from protos.common.v1 import common_pb2
from protos.tensors import tensor_to_numpy
from protos.tests.test_callers import methods, name_of

CLEAR = {
    *(grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND, grpc.StatusCode.ABORTED),
    *(grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.RESOURCE_EXHAUSTED),
}
"""A bug is INTERNAL, a Python error UNKNOWN, work without a bound DEADLINE_EXCEEDED."""
TOLD_TOO_MUCH = ("Traceback", "Error:", "Exception", ".py", "site-packages", "numpy", "pyarrow", "redis", "sqlite")
FLOATING = (common_pb2.DTYPE_FLOAT32, common_pb2.DTYPE_FLOAT64)
DESCRIPTORS = {name_of(method): method for method in methods()}
TIMEOUT_S = 10.0
SENT_TO_NOBODY = "Internal error from Core"  # what our own side says when the answer came before all was sent
STREAM_S = 0.3  # a stream on which nothing happens is left after it
MANY_BYTES = 1 << 20
MANY_LIMIT_S = 600
SERVING = ("ingest", "enrich", "indexer", "indexer-lake", "cg", "ranker", "ranker-leaf", "blender", "quota")

each_method = pytest.mark.parametrize("method", METHODS)


def _first_quick_rest_slow() -> Iterator[Any]:
    """Every method; of each process one in the short run, for what is the same door's work for all of them."""
    seen = set()
    for method in METHODS:
        process = process_of(method)
        yield pytest.param(method, marks=[pytest.mark.slow] if process in seen else [])
        seen.add(process)


each_method_one_quick = pytest.mark.parametrize("method", list(_first_quick_rest_slow()))


@pytest.fixture(scope="module")
def good(house: House) -> dict[str, Good]:
    return house.run(good_requests)


@pytest.fixture(autouse=True)
def watch(house: House) -> Iterator[None]:
    """No process is started anew, and no log tells of a bug."""
    watch = Watch(house, SERVING)
    yield
    assert watch.restarted() == {}
    assert watch.bugs() == []


@asynccontextmanager
async def channel_to(house: House, process: str, *options: tuple[str, Any]) -> AsyncIterator[aio.Channel]:
    async with aio.insecure_channel(house.endpoints.address(process), options=options) as channel:
        yield channel


async def outcome(
    channel: aio.Channel, method: str, raw: bytes, timeout_s: float | None = TIMEOUT_S, **options: Any
) -> tuple[grpc.StatusCode, str, bytes]:
    """Status, words and answer of one call with these bytes; a stream is read once."""
    is_stream = DESCRIPTORS[method].server_streaming
    make: Any = channel.unary_stream if is_stream else channel.unary_unary
    quiet_s = STREAM_S if is_stream and len(raw) < MANY_BYTES else timeout_s
    call = make(f"/{method}")(raw, timeout=quiet_s, **options)
    try:
        answer = await (call.read() if is_stream else call)
    except aio.AioRpcError as error:
        if is_stream and error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
            return grpc.StatusCode.OK, "", b""  # nothing happened on the stream, which is what it is for
        return error.code(), error.details() or "", b""
    return grpc.StatusCode.OK, "", b"" if answer is aio.EOF else answer


def not_finite(message: Message, path: str = "") -> Iterator[str]:
    """Fields of an answer that are NaN or infinite, tensors among them."""
    if isinstance(message, common_pb2.Tensor) and message.dtype in FLOATING:
        if not np.isfinite(tensor_to_numpy(message)).all():
            yield path
        return
    for field, value in message.ListFields():
        for one in _elements(field, value):
            if isinstance(one, Message):
                yield from not_finite(one, f"{path}.{field.name}")
            elif isinstance(one, float) and not math.isfinite(one):
                yield f"{path}.{field.name}"


def _elements(field: Any, value: Any) -> Iterable[Any]:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return list(value.values())
    return list(value) if field.is_repeated else [value]


def complaint(method: str, code: grpc.StatusCode, words: str, answer: bytes) -> str:
    """What is wrong with how a hostile call ended; empty = nothing."""
    if code not in CLEAR:
        return f"{code.name}: {words}"
    if code is not grpc.StatusCode.OK and not words:
        return f"{code.name} without a word"
    if told := [word for word in TOLD_TOO_MUCH if word in words]:
        return f"{code.name} tells of our insides ({told[0]}): {words}"
    parsed = _answer_type(method).FromString(answer)
    if strange := sorted(set(not_finite(parsed))):
        return f"the answer has numbers that are none: {strange}"
    internal = [one.component for one in getattr(parsed, "degradations", ()) if one.reason == "internal"]
    return f"degraded by a bug in {internal}" if internal else ""


def _answer_type(method: str) -> Any:
    from google.protobuf import message_factory

    return message_factory.GetMessageClass(DESCRIPTORS[method].output_type)


async def ill_treated(house: House, good: Good, cases: list[Hostile]) -> None:
    """Send all cases; then every one is counted, none was a bug, and the good request works as before."""
    before = calls_by_code(house, good)
    wrong, ended = [], Counter[str]()
    async with channel_to(house, good.process) as channel:
        for case in cases:
            code, words, answer = await outcome(channel, good.method, case.raw)
            ended[code.name] += 1
            if trouble := complaint(good.method, code, words, answer):
                wrong.append(f"{case.name}: {trouble}")
        assert wrong == []
        await every_call_counted(house, good, before, ended)
        if good.is_repeatable:
            code, words, _ = await outcome(channel, good.method, good.request.SerializeToString())
            assert code is grpc.StatusCode.OK, words


def calls_by_code(house: House, good: Good) -> dict[str, float]:
    return {
        code.name: counted(house, good.process, "grpc_server_calls_total", method=good.method, code=code.name)
        for code in CLEAR
    }


async def every_call_counted(house: House, good: Good, before: dict[str, float], ended: Mapping[str, int]) -> None:
    """Each code was counted as often as it was seen; OK at least so often, as the house calls itself, too. A counter is
    set a moment after the answer has left; a stream that we leave is counted as cancelled."""
    for _ in range(50):
        after = await asyncio.to_thread(calls_by_code, house, good)
        new = {code: after[code] - before[code] for code in after}
        is_stream = DESCRIPTORS[good.method].server_streaming
        if all(new[code] >= number for code, number in ended.items() if not (is_stream and code == "OK")):
            break
        await asyncio.sleep(0.05)
    refused = {code: number for code, number in ended.items() if code != "OK"}
    assert {code: new[code] for code in refused} == refused
    assert new["OK"] >= ended.get("OK", 0) or is_stream


def test_every_good_request_is_good(house: House, good: dict[str, Good]) -> None:
    async def work() -> None:
        for one in good.values():
            async with channel_to(house, one.process) as channel:
                code, words, answer = await outcome(channel, one.method, one.request.SerializeToString())
            assert code is grpc.StatusCode.OK or not one.is_repeatable, (one.method, words)
            assert not list(not_finite(_answer_type(one.method).FromString(answer)))

    asyncio.run(work())


@each_method
def test_bytes_that_are_no_request(house: House, good: dict[str, Good], method: str) -> None:
    one = good[method]
    other = next(each.request for each in good.values() if type(each.request) is not type(one.request))
    asyncio.run(ill_treated(house, one, list(broken(one.request, other))))


@pytest.mark.slow
@pytest.mark.timeout(MANY_LIMIT_S)
@each_method
def test_each_field_hostile(house: House, good: dict[str, Good], method: str) -> None:
    one = good[method]
    limit = 3_000_000  # what is larger is refused by its size, which is tested apart
    cases = [case for case in changed(one.request) if len(case.raw) < limit]
    asyncio.run(ill_treated(house, one, cases))


@each_method_one_quick
def test_metadata_that_is_too_much_or_wrong(house: House, good: dict[str, Good], method: str) -> None:
    one = good[method]
    raw = one.request.SerializeToString()
    wrong = [
        *(("traceparent", text) for text in ("", "junk", "00-zz-zz-01", "ff-" + "1" * 32 + "-" + "2" * 16 + "-01")),
        *(("criticality", text) for text in ("", "highest", "x" * 500)),
        ("grpc-previous-rpc-attempts", "-1"),
        ("x-bin-bin", bytes(range(256))),
    ]

    async def work() -> None:
        async with channel_to(house, one.process) as channel:
            for pair in wrong:
                code, words, answer = await outcome(channel, method, raw, metadata=(pair,))
                assert complaint(method, code, words, answer) == "", pair
            before = calls_by_code(house, one)
            code, words, _ = await outcome(
                channel, method, raw, metadata=(("x-big", "y" * (MAX_METADATA_BYTES + 100)),)
            )
            assert code is grpc.StatusCode.INVALID_ARGUMENT and "metadata" in words
            await every_call_counted(house, one, before, {"INVALID_ARGUMENT": 1})
            code, _, _ = await outcome(channel, method, raw, metadata=(("x-bigger", "y" * 60_000),))
            assert code in (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.INTERNAL, grpc.StatusCode.UNAVAILABLE)
            code, words, answer = await outcome(channel, method, raw)
            assert complaint(method, code, words, answer) == ""

    asyncio.run(work())


@each_method_one_quick
def test_a_request_without_end_and_a_bomb(house: House, good: dict[str, Good], method: str) -> None:
    """As large as no method takes, as it is and packed to some kilobytes."""
    one = good[method]
    huge = b"\x0a\x80\x80\x80\x14" + b"x" * (40 << 20)

    async def work() -> None:
        async with channel_to(house, one.process) as channel:
            for options in ({}, {"compression": grpc.Compression.Gzip}):
                code, words, _ = await outcome(channel, method, huge, **options)
                assert code in (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.INVALID_ARGUMENT), words
            code, words, answer = await outcome(channel, method, one.request.SerializeToString())
            assert complaint(method, code, words, answer) == ""

    asyncio.run(work())


@each_method_one_quick
def test_a_stream_of_requests_where_one_is_expected(house: House, good: dict[str, Good], method: str) -> None:
    """The first message counts; a caller that never stops talking does not hold the method."""
    one = good[method]
    raw = one.request.SerializeToString()

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield raw
            await asyncio.sleep(0.01)

    async def work() -> None:
        async with channel_to(house, one.process) as channel:
            call: Any = channel.stream_stream(f"/{method}")
            talking = call(endless(), timeout=1.0)
            try:
                async for _ in talking:
                    pass
            except aio.AioRpcError as error:
                cut_off = {grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNAVAILABLE}
                assert error.code() in CLEAR | cut_off or error.details() == SENT_TO_NOBODY, error
            code, words, answer = await outcome(channel, method, raw)
            assert complaint(method, code, words, answer) == ""

    asyncio.run(work())


def test_a_call_without_a_deadline_ends(house: House, good: dict[str, Good]) -> None:
    async def work() -> None:
        for one in good.values():
            if DESCRIPTORS[one.method].server_streaming:
                continue
            async with channel_to(house, one.process) as channel, asyncio.timeout(TIMEOUT_S):
                raw = one.request.SerializeToString()
                code, words, answer = await outcome(channel, one.method, raw, timeout_s=None)
                assert complaint(one.method, code, words, answer) == "", one.method

    asyncio.run(work())


def test_unknown_methods_and_services_are_unimplemented(house: House) -> None:
    async def work() -> None:
        for process in SERVING:
            async with channel_to(house, process) as channel:
                for path in ("/corkboard.blender.v1.FeedService/Nothing", "/x/y", "/", "/../../etc/passwd", "/a/b/c"):
                    call: Any = channel.unary_unary(path)
                    with pytest.raises(aio.AioRpcError) as caught:
                        await call(b"", timeout=5.0)
                    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED, (process, path)

    asyncio.run(work())
