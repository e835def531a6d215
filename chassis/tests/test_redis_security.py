"""A real Valkey with a password, and behind TLS; the wheel's Valkey has no TLS, so a small real proxy ends it."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from chassis.errors import Invalid, Unavailable
from chassis.redis.client import RedisClient, translated
from chassis.redis.security import RedisSecurity
from chassis.testing.authority import LocalAuthority
from chassis.testing.ports import free_ports
from chassis.tests.lives import started
from corkboard.local.valkey_server import ValkeyServer

pytestmark = pytest.mark.servers


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    (port,) = free_ports(1)
    server = ValkeyServer(tmp_path_factory.mktemp("valkey"), port)
    server.start()
    yield server
    server.stop()


@asynccontextmanager
async def tls_in_front_of(valkey: ValkeyServer, context: ssl.SSLContext) -> AsyncIterator[str]:
    """A rediss:// address."""

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(65_536):
                writer.write(chunk)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, port = valkey.address.split(":")
        inner_reader, inner_writer = await asyncio.open_connection(host, int(port))
        await asyncio.gather(pump(reader, inner_writer), pump(inner_reader, writer))

    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context) as listening:
        yield f"rediss://127.0.0.1:{listening.sockets[0].getsockname()[1]}/0"


async def set_user(valkey: ValkeyServer, password: str) -> None:
    """The user has this password only, and is sent away to come again."""
    admin: Any
    async with Redis.from_url(f"redis://{valkey.address}/0") as admin:
        await admin.execute_command("ACL", "SETUSER", "blender", "reset", "on", f">{password}", "~*", "+@all")
        await admin.execute_command("CLIENT", "KILL", "USER", "blender")


async def works(client: RedisClient) -> bool:
    async with translated():
        return bool(await client.connection.ping())


async def test_a_changed_password_is_sent_with_the_next_connection(valkey: ValkeyServer, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("old\n")
    security = RedisSecurity(username="blender", password_path=str(file))
    client = RedisClient(f"redis://{valkey.address}/0", security=security)
    async with started(client):
        await set_user(valkey, "old")
        assert await works(client)
        await set_user(valkey, "new")
        with pytest.raises(Unavailable):
            await works(client)
        file.write_text("new\n")
        assert await works(client)


async def test_a_wrong_password_is_unavailable(valkey: ValkeyServer, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("wrong")
    await set_user(valkey, "right")
    security = RedisSecurity(username="blender", password_path=str(tmp_path / "password"))
    client = RedisClient(f"redis://{valkey.address}/0", security=security)
    async with started(client):
        with pytest.raises(Unavailable):
            await works(client)


async def test_over_tls_with_certificates_on_both_sides(valkey: ValkeyServer, tmp_path: Path) -> None:
    authority = LocalAuthority()
    paths = authority.write(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(paths.chain, paths.key)
    context.load_verify_locations(paths.authorities)
    context.verify_mode = ssl.CERT_REQUIRED
    async with tls_in_front_of(valkey, context) as url:
        whole = RedisSecurity(ca_path=paths.authorities, cert_path=paths.chain, key_path=paths.key)
        good = RedisClient(url, security=whole, connect_timeout_s=2.0)
        bare = RedisClient(url, security=RedisSecurity(ca_path=paths.authorities), connect_timeout_s=2.0)
        foreign = LocalAuthority().write(tmp_path / "foreign")
        mistaken = RedisClient(url, security=RedisSecurity(ca_path=foreign.authorities), connect_timeout_s=2.0)
        async with started(good, bare, mistaken):
            assert await works(good)
            for client in (bare, mistaken):
                with pytest.raises(Unavailable):
                    await works(client)


@pytest.mark.parametrize(
    ("url", "security", "words"),
    [
        ("redis://h:1/0", RedisSecurity(ca_path="ca.crt"), "rediss://"),
        ("redis://:secret@h:1/0", RedisSecurity(password_path="p"), "in redis_url already"),
        ("redis://h:1/0", RedisSecurity(password_path="/nowhere/p"), "/nowhere/p cannot be read"),
        ("rediss://h:1/0", RedisSecurity(ca_path="/nowhere/ca.crt"), "/nowhere/ca.crt"),
    ],
)
def test_what_does_not_fit_is_named(url: str, security: RedisSecurity, words: str) -> None:
    with pytest.raises(Invalid, match=words) as caught:
        RedisClient(url, security=security)
    assert "secret@" not in caught.value.message
