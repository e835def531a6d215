"""What one connection may do to a door, from a bare socket: say nothing, be half there, open streams without end."""

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from chassis.errors import Unavailable
from chassis.grpc.limits import MAX_METADATA_BYTES, ServerLimits
from chassis.grpc.server import GrpcDoor
from chassis.metrics import Metrics
from chassis.testing.authority import LocalAuthority
from chassis.tests.grpc_world import ScriptedQuota, answer_with_key, calling, get_rule, serving
from chassis.tls import CertificateSource

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"  # RFC 9113, section 3.4
SETTINGS, MAX_CONCURRENT_STREAMS, MAX_HEADER_LIST_SIZE = 4, 3, 6  # sections 6.5 and 6.5.2
QUICK = ServerLimits(handshake_timeout_s=0.3)


def frame(kind: int, payload: bytes = b"", flags: int = 0, stream: int = 0) -> bytes:
    """An HTTP/2 frame: length, type, flags, stream, payload."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


@asynccontextmanager
async def connected(door: GrpcDoor) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
    try:
        yield reader, writer
    finally:
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)


async def settings_of(reader: asyncio.StreamReader) -> dict[int, int]:
    """The first SETTINGS frame that the server sends."""
    while True:
        head = await reader.readexactly(9)
        payload = await reader.readexactly(int.from_bytes(head[:3]))
        if head[3] == SETTINGS:
            return dict(struct.unpack(">HI", payload[at : at + 6]) for at in range(0, len(payload), 6))


async def closes(reader: asyncio.StreamReader, within_s: float = 5.0) -> bool:
    """Whether the other side hangs up in time."""
    try:
        async with asyncio.timeout(within_s):
            while await reader.read(4_096):
                pass
    except TimeoutError:
        return False
    except ConnectionError:
        return True
    return True


@pytest.mark.parametrize("said", [b"", b"PRI * HT", b"GET / HTTP/1.1\r\n\r\n", b"\x00" * 64, b"\x16\x03\x01"])
async def test_who_says_nothing_or_nonsense_is_cut_off_and_the_next_caller_is_served(said: bytes) -> None:
    async with serving(ScriptedQuota(), limits=QUICK) as door, connected(door) as (reader, writer):
        writer.write(said)
        assert await closes(reader)
        async with calling(door.address) as pool:
            assert await get_rule(pool) == "a/b"


@pytest.mark.parametrize("said", [b"", b"\x16\x03\x01", PREFACE])
async def test_the_same_under_tls(said: bytes, tmp_path: Path) -> None:
    source = CertificateSource(LocalAuthority().write(tmp_path), Metrics("test"))
    async with (
        serving(ScriptedQuota(), limits=QUICK, certificates=source) as door,
        connected(door) as (reader, writer),
    ):
        writer.write(said)
        assert await closes(reader)
        async with calling(door.address, certificates=source) as pool:
            assert await get_rule(pool) == "a/b"


async def test_a_connection_is_told_how_many_streams_and_how_much_metadata_it_may_send() -> None:
    async with serving(ScriptedQuota()) as door, connected(door) as (reader, writer):
        writer.write(PREFACE + frame(SETTINGS))
        told = await settings_of(reader)
    assert told[MAX_CONCURRENT_STREAMS] == ServerLimits().max_streams_per_connection
    assert told[MAX_HEADER_LIST_SIZE] <= 2 * MAX_METADATA_BYTES


async def test_streams_beyond_the_limit_are_refused_and_the_next_call_works() -> None:
    release = asyncio.Event()

    async def wait(request: Any) -> Any:
        await release.wait()
        return await answer_with_key(request)

    limits = ServerLimits(max_streams_per_connection=4)
    async with serving(ScriptedQuota(wait), limits=limits) as door, calling(door.address) as pool:
        calls = [asyncio.create_task(get_rule(pool, timeout_s=5.0)) for _ in range(40)]
        await asyncio.sleep(0.2)
        release.set()
        answers = await asyncio.gather(*calls, return_exceptions=True)
        assert all(answer == "a/b" or isinstance(answer, Unavailable) for answer in answers)
        assert answers.count("a/b") >= 4
        assert await get_rule(pool) == "a/b"


async def test_a_call_that_is_never_finished_harms_no_other() -> None:
    """The head of a call has come, its message never does."""
    path = b"/corkboard.quota.v1.QuotaService/GetRule"
    fields = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", path), (b":authority", b"x")]
    fields += [(b"content-type", b"application/grpc"), (b"te", b"trailers")]
    head = b"".join(b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value for name, value in fields)
    async with serving(ScriptedQuota()) as door, connected(door) as (reader, writer):
        writer.write(PREFACE + frame(SETTINGS) + b"".join(frame(1, head, 4, stream) for stream in range(1, 99, 2)))
        await settings_of(reader)
        async with calling(door.address) as pool:
            assert await get_rule(pool) == "a/b"
