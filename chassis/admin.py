"""The admin port: health, readiness, metrics, settings and bundle versions over plain HTTP, read-only."""

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any

from chassis.deadline import Deadline
from chassis.errors import Unavailable
from chassis.health import Health
from chassis.metrics import Metrics

MAX_REQUEST_BYTES = 8_192
READ_TIMEOUT_S = 2.0
Answer = tuple[int, str, bytes]
REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}
TEXT = "text/plain; charset=utf-8"
JSON = "application/json"


class AdminServer:
    """A part that answers GET on a few fixed paths; anything else is refused."""

    name = "admin"

    def __init__(
        self,
        host: str,
        port: int,
        *,
        health: Health,
        metrics: Metrics,
        settings: Mapping[str, Any],
        bundle_versions: Callable[[], Mapping[str, str]],
        is_alive: Callable[[], bool] = lambda: True,
    ) -> None:
        self.port = port
        self._host = host
        self._health = health
        self._metrics = metrics
        self._settings = settings
        self._bundle_versions = bundle_versions
        self._is_alive = is_alive
        self._server: asyncio.Server | None = None

    async def start(self, tasks: asyncio.TaskGroup) -> None:  # noqa: ARG002  # asyncio's server has its own tasks
        """Listen. Raises: Unavailable when the port is taken."""
        try:
            self._server = await asyncio.start_server(self._serve, self._host, self.port, limit=MAX_REQUEST_BYTES)
        except OSError as error:
            raise Unavailable(f"cannot listen on {self._host}:{self.port}: {error.strerror}") from error
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self, deadline: Deadline) -> None:  # noqa: ARG002  # nothing here is worth waiting for
        """Close the port."""
        server, self._server = self._server, None
        if server is not None:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(READ_TIMEOUT_S):
                head = await reader.readuntil(b"\r\n\r\n")
            status, kind, body = self._answer(head)
        except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            status, kind, body = 400, TEXT, b"bad request\n"
        try:
            writer.write(
                f"HTTP/1.1 {status} {REASONS[status]}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
                "Connection: close\r\n\r\n".encode()
                + body
            )
            await writer.drain()
        except ConnectionError:
            return
        finally:
            writer.close()

    def _answer(self, head: bytes) -> Answer:
        words = head.split(b"\r\n", 1)[0].split(b" ")
        if len(words) != 3:
            return 400, TEXT, b"bad request\n"
        if words[0] != b"GET":
            return 405, TEXT, b"only GET is answered here\n"
        pages: dict[bytes, Callable[[], Answer]] = {
            b"/healthz": self._healthz,
            b"/readyz": self._readyz,
            b"/metrics": self._metrics_page,
            b"/config": lambda: (200, JSON, _json(self._settings)),
            b"/bundles": lambda: (200, JSON, _json(self._bundle_versions())),
        }
        page = pages.get(words[1].split(b"?")[0])
        return page() if page else (404, TEXT, b"there are /healthz /readyz /metrics /config /bundles\n")

    def _healthz(self) -> Answer:
        return (200, TEXT, b"ok\n") if self._is_alive() else (503, TEXT, b"no progress\n")

    def _readyz(self) -> Answer:
        return 200 if self._health.is_ready() else 503, JSON, _json(self._health.report())

    def _metrics_page(self) -> Answer:
        return 200, "text/plain; version=0.0.4; charset=utf-8", self._metrics.exposition()


def _json(value: Any) -> bytes:
    return json.dumps(dict(value), indent=1, default=str).encode() + b"\n"
