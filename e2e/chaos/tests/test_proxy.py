"""The proxy does to a connection what its fault says, and undoes it."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest

from e2e.chaos.proxy import Proxy


@pytest.fixture
async def proxy() -> AsyncIterator[Proxy]:
    """In front of a server that says everything back."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while chunk := await reader.read(1024):
                writer.write(chunk)
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    one = Proxy(server.sockets[0].getsockname()[1])
    await one.start()
    try:
        yield one
    finally:
        await one.stop()
        server.close()
        await asyncio.sleep(0.05)  # connections of the server hear that their peers are gone


async def ask(proxy: Proxy, within_s: float = 2.0) -> float:
    """Seconds until a new connection's word came back. Raises: OSError, TimeoutError."""
    start_s = time.perf_counter()
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    try:
        writer.write(b"hello")
        async with asyncio.timeout(within_s):
            if await reader.read(16) != b"hello":
                raise ConnectionResetError("closed")
        return time.perf_counter() - start_s
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def test_it_forwards(proxy: Proxy) -> None:
    assert await ask(proxy) < 1.0


async def test_a_slow_link_delays_each_way(proxy: Proxy) -> None:
    proxy.set("slow", 0.15)
    assert await ask(proxy) >= 0.3


async def test_a_cut_link_refuses_and_comes_back(proxy: Proxy) -> None:
    proxy.set("cut")
    with pytest.raises(OSError):
        await ask(proxy)
    proxy.set("")
    assert await ask(proxy) < 1.0


async def test_a_cut_ends_connections_that_live(proxy: Proxy) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    writer.write(b"hello")
    assert await reader.read(16) == b"hello"
    proxy.set("cut")
    with suppress(ConnectionResetError):
        assert await reader.read(16) == b""
    writer.close()


async def test_a_half_open_link_says_nothing(proxy: Proxy) -> None:
    proxy.set("half_open")
    with pytest.raises(TimeoutError):
        await ask(proxy, within_s=0.3)


async def test_a_lossy_link_loses_some_and_passes_most(proxy: Proxy) -> None:
    proxy.set("lossy")
    outcomes = [await _passes(proxy) for _ in range(200)]
    assert 0 < outcomes.count(False) < 60


async def _passes(proxy: Proxy) -> bool:
    try:
        await ask(proxy)
        return True
    except OSError:
        return False
