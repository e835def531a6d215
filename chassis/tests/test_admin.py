"""The admin port: each page, each refusal, and nothing that a client can hold on to."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping

import pytest

from chassis import admin
from chassis.admin import AdminServer
from chassis.deadline import Deadline
from chassis.errors import Unavailable
from chassis.health import Health, ProgressWatchdog
from chassis.metrics import Metrics
from chassis.testing import FakeClock

PATHS = ["/healthz", "/readyz", "/metrics", "/config", "/bundles"]


class World:
    """One admin server and what it tells about."""

    def __init__(self) -> None:
        self.health = Health()
        self.metrics = Metrics("test")
        self.versions: dict[str, str] = {}
        self.server = AdminServer(
            "127.0.0.1",
            0,
            health=self.health,
            metrics=self.metrics,
            settings={"zone": "az-a", "page_token_key": "***"},
            bundle_versions=self._versions,
        )

    def _versions(self) -> Mapping[str, str]:
        if "broken" in self.versions:
            raise RuntimeError("planted")
        return self.versions

    async def get(self, path: str) -> tuple[int, bytes]:
        status, _, body = await self.send(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        return status, body

    async def send(self, request: bytes) -> tuple[int, dict[str, str], bytes]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.server.port)
        try:
            writer.write(request)
            await writer.drain()
            async with asyncio.timeout(5):
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                headers = dict(line.split(": ", 1) for line in head[1:] if line)
                return int(head[0].split(" ")[1]), headers, await reader.readexactly(int(headers["Content-Length"]))
        finally:
            writer.close()


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    async with asyncio.TaskGroup() as tasks:
        await made.server.start(tasks)
    yield made
    await made.server.stop(Deadline.after(1.0))
    await made.server.stop(Deadline.after(1.0))


@pytest.mark.parametrize("path", PATHS)
async def test_every_page_is_there(world: World, path: str) -> None:
    status, headers, body = await world.send(f"GET {path}?x=1 HTTP/1.0\r\n\r\n".encode())
    assert (status, headers["Connection"]) == (200, "close")
    assert path == "/metrics" or json.loads(body) is not None


async def test_readyz_follows_health_and_says_why(world: World) -> None:
    world.health.set("index", False, "cold")
    status, body = await world.get("/readyz")
    assert (status, json.loads(body)) == (503, {"index": "cold"})
    assert (await world.get("/healthz"))[0] == 200, "not ready is no reason to be started again"
    world.health.set("index", True)
    assert (await world.get("/readyz"))[0] == 200


async def test_healthz_fails_when_nothing_moves(world: World) -> None:
    clock = FakeClock()
    watchdog = ProgressWatchdog(world.health, "events", 30.0, clock)
    clock.advance(31.0)
    status, body = await world.get("/healthz")
    assert (status, json.loads(body)) == (503, {"events": "no progress for 31 s"})
    watchdog.beat()
    assert (await world.get("/healthz"))[0] == 200


async def test_config_bundles_and_metrics_show_what_they_are_given(world: World) -> None:
    world.versions["definitions"] = "d-2"
    world.metrics.counter("requests_total", "Requests.").inc()
    assert json.loads((await world.get("/config"))[1]) == {"zone": "az-a", "page_token_key": "***"}
    assert json.loads((await world.get("/bundles"))[1]) == {"definitions": "d-2"}
    assert b"requests_total 1.0" in (await world.get("/metrics"))[1]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "HEAD", "get", "OPTIONS"])
async def test_other_methods_are_refused(world: World, method: str) -> None:
    status, headers, _ = await world.send(f"{method} /healthz HTTP/1.1\r\n\r\n".encode())
    assert (status, headers["Allow"]) == (405, "GET")


@pytest.mark.parametrize("path", ["/", "/secret", "/healthz/", "//healthz", "/../config", "*"])
async def test_other_paths_are_not_found(world: World, path: str) -> None:
    status, body = await world.get(path)
    assert status == 404
    assert b"/healthz" in body


@pytest.mark.parametrize(
    "request_", [b"\r\n\r\n", b"hello\r\n\r\n", b"GET /healthz\r\n\r\n", b"\xff\xfe \x00 \r\n\r\n"]
)
async def test_what_is_not_http_is_refused(world: World, request_: bytes) -> None:
    assert (await world.send(request_))[0] == 400


async def test_a_page_that_fails_is_an_answer(world: World) -> None:
    world.versions["broken"] = "x"
    assert (await world.get("/bundles"))[0] == 500
    assert (await world.get("/healthz"))[0] == 200


async def test_a_request_that_is_too_large_is_refused(world: World) -> None:
    request = b"GET /healthz HTTP/1.1\r\nX: " + b"a" * (2 * admin.MAX_REQUEST_BYTES) + b"\r\n\r\n"
    assert (await world.send(request))[0] == 431


async def test_a_client_that_says_nothing_is_let_go(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin, "READ_WITHIN_S", 0.05)
    assert (await world.send(b"GET /heal"))[0] == 408
    assert (await world.get("/healthz"))[0] == 200


async def test_silent_connections_do_not_use_up_the_process(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin, "MAX_CONNECTIONS", 3)
    silent = [await asyncio.open_connection("127.0.0.1", world.server.port) for _ in range(3)]
    await asyncio.sleep(0.05)
    assert (await world.get("/healthz"))[0] == 503
    for _, writer in silent:
        writer.close()
    await asyncio.sleep(0.05)
    assert (await world.get("/healthz"))[0] == 200


async def test_a_taken_port_is_named(world: World) -> None:
    second = AdminServer(
        "127.0.0.1",
        world.server.port,
        health=world.health,
        metrics=world.metrics,
        settings={},
        bundle_versions=dict,
    )
    async with asyncio.TaskGroup() as tasks:
        with pytest.raises(Unavailable, match=f"127.0.0.1:{world.server.port}"):
            await second.start(tasks)
