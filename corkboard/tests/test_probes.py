"""Probes: readiness over HTTP, and who holds a port."""

import http.server
import json
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from chassis.testing.ports import free_port
from corkboard.local import probes


@contextmanager
def admin_server(status: int, body: str) -> Iterator[int]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, format: str, *args: object) -> None:
            """Silent."""

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def test_ready_is_a_200() -> None:
    with admin_server(200, "{}") as port:
        assert probes.is_ready(port)


def test_the_unhealthy_parts_are_named() -> None:
    report = {"parts": {"definitions": "none yet", "kafka": "ok", "model": "loading"}}
    with admin_server(503, json.dumps(report)) as port:
        assert not probes.is_ready(port)
        assert probes.why_not_ready(port) == "definitions: none yet; model: loading"


def test_a_body_that_says_nothing_leaves_the_status() -> None:
    with admin_server(503, "<html>") as port:
        assert probes.why_not_ready(port) == "status 503"
    with admin_server(500, "[1, 2]") as port:
        assert probes.why_not_ready(port) == "status 500"


def test_silence_is_not_ready() -> None:
    port = free_port()
    assert not probes.is_ready(port)
    assert "does not answer" in probes.why_not_ready(port)


def test_taken_ports_name_their_holder() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        taken = holder.getsockname()[1]
        found = probes.taken_ports([(taken, "ingest"), (free_port(), "enrich")])
    assert [(port, what) for port, what, _ in found] == [(taken, "ingest")]
    assert f"(pid {os.getpid()})" in found[0][2]
