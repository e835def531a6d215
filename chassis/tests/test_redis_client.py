"""A Redis that is away, slow or unhappy ends in our errors, in time."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from chassis.deadline import Deadline
from chassis.errors import DeadlineExceeded, Unavailable
from chassis.redis.client import RedisClient, translated
from chassis.testing.ports import free_ports
from chassis.tests.contract_bus import running
from corkboard.local.valkey_server import ValkeyServer


@asynccontextmanager
async def silent_server() -> AsyncIterator[int]:
    """Takes connections and never answers."""
    over = asyncio.Event()

    async def ignore(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await over.wait()
        writer.close()

    server = await asyncio.start_server(ignore, "127.0.0.1", 0)
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        over.set()
        server.close()
        await server.wait_closed()


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    (port,) = free_ports(1)
    server = ValkeyServer(Path(tmp_path_factory.mktemp("valkey")), port)
    server.start()
    yield server
    server.stop()


async def test_a_server_that_is_away_is_unavailable_and_blocks_no_start() -> None:
    (port,) = free_ports(1)
    client = RedisClient(f"redis://127.0.0.1:{port}/0")
    async with running(client):
        with pytest.raises(Unavailable) as raised:
            async with translated():
                await client.connection.get("k")
    assert raised.value.reason == "store_unavailable"
    assert raised.value.retry_after_s


async def test_a_server_that_says_nothing_runs_into_the_time_limit() -> None:
    async with silent_server() as port:
        client = RedisClient(f"redis://127.0.0.1:{port}/0", timeout_s=0.1)
        async with running(client):
            began_s = time.monotonic()
            with pytest.raises(DeadlineExceeded):
                async with translated("the sessions' store"):
                    await client.connection.get("k")
            assert time.monotonic() - began_s < 3.0


@pytest.mark.servers
async def test_values_are_bytes_and_a_refused_command_is_unavailable(valkey: ValkeyServer) -> None:
    client = RedisClient(f"redis://{valkey.address}/0")
    async with running(client):
        async with translated():
            await client.connection.set("k", b"\x00\xff")
            assert await client.connection.get("k") == b"\x00\xff"
        with pytest.raises(Unavailable, match="refused a command"):
            async with translated():
                await client.connection.lpush("k", b"x")
    await client.stop(Deadline.after(1.0))


@pytest.mark.servers
@pytest.mark.parametrize("stop", ["stop", "kill"])
async def test_a_client_outlives_a_restart_of_its_server(valkey: ValkeyServer, stop: str) -> None:
    client = RedisClient(f"redis://{valkey.address}/0")
    async with running(client):
        await client.connection.set("k", b"1")
        await asyncio.to_thread(getattr(valkey, stop))
        with pytest.raises(Unavailable):
            async with translated():
                await client.connection.get("k")
        await asyncio.to_thread(valkey.start)
        await client.connection.set("k", b"2")
        assert await client.connection.get("k") == b"2"
