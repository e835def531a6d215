"""The admin port: health, readiness, metrics, settings and bundle versions over plain HTTP, read-only."""

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any

from chassis.deadline import Deadline
from chassis.errors import Unavailable
from chassis.health import Health
from chassis.logs import get_logger
from chassis.metrics import Metrics

MAX_REQUEST_BYTES = 8_192
MAX_CONNECTIONS = 32  # probes, a scraper and people; more is a mistake or an attack
READ_WITHIN_S = 2.0
WRITE_WITHIN_S = 5.0
TEXT = "text/plain; charset=utf-8"
JSON = "application/json"
PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"
REASONS = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    503: "Service Unavailable",
}

Answer = tuple[int, str, bytes]

log = get_logger(__name__)


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
    ) -> None:
        self.port = port
        self._host = host
        self._health = health
        self._server: asyncio.Server | None = None
        self._num_connections = 0
        self._pages: dict[str, Callable[[], Answer]] = {
            "/healthz": self._healthz,
            "/readyz": self._readyz,
            "/metrics": lambda: (200, PROMETHEUS, metrics.exposition()),
            "/config": lambda: (200, JSON, _json(settings)),
            "/bundles": lambda: (200, JSON, _json(bundle_versions())),
        }

    async def start(self, tasks: asyncio.TaskGroup) -> None:  # noqa: ARG002  # asyncio's server has its own tasks
        """Listen; `port` is the bound one afterwards. Raises: Unavailable when the port is taken."""
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
        self._num_connections += 1
        try:
            async with asyncio.timeout(READ_WITHIN_S + WRITE_WITHIN_S):
                answer = await self._read(reader)
                writer.write(_response(answer))
                await writer.drain()
        except (TimeoutError, ConnectionError):
            writer.transport.abort()  # the other side does not read or is gone
        finally:
            self._num_connections -= 1
            writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> Answer:
        if self._num_connections > MAX_CONNECTIONS:
            return 503, TEXT, b"too many connections\n"
        try:
            async with asyncio.timeout(READ_WITHIN_S):
                head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            return 431, TEXT, b"the request is too large\n"
        except asyncio.IncompleteReadError:
            return 400, TEXT, b"not an HTTP request\n"
        except TimeoutError:
            return 408, TEXT, b"the request took too long\n"
        return self._answer(head)

    def _answer(self, head: bytes) -> Answer:
        words = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            return 400, TEXT, b"not an HTTP request\n"
        page = self._pages.get(words[1].split("?")[0])
        if page is None:
            return 404, TEXT, f"there are {' '.join(self._pages)}\n".encode()
        if words[0] != "GET":
            return 405, TEXT, b"only GET is answered here\n"
        try:
            return page()
        except Exception as error:  # an edge: a page that fails is an answer and not a lost connection
            log.error("admin page failed", page=words[1], error=repr(error))
            return 500, TEXT, b"this page failed\n"

    def _healthz(self) -> Answer:
        is_alive = self._health.is_alive()
        return 200 if is_alive else 503, JSON, _json(self._health.report())

    def _readyz(self) -> Answer:
        return 200 if self._health.is_ready() else 503, JSON, _json(self._health.report())


def _response(answer: Answer) -> bytes:
    status, kind, body = answer
    lines = [
        f"HTTP/1.1 {status} {REASONS[status]}",
        f"Content-Type: {kind}",
        f"Content-Length: {len(body)}",
        "Cache-Control: no-store",
        "Connection: close",
    ]
    if status == 405:
        lines.append("Allow: GET")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(dict(value), indent=1, default=str).encode() + b"\n"
