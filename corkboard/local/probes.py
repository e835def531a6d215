"""Questions about processes and ports that need no Corkboard code on the other side."""

import http.client
import json
import socket
from collections.abc import Iterable

import psutil

PROBE_TIMEOUT_S = 1.0


def is_ready(admin_port: int) -> bool:
    """Whether the service behind this admin port says it is ready."""
    return _get(admin_port, "/readyz")[0] == 200


def why_not_ready(admin_port: int) -> str:
    """The unhealthy parts by name, or that nothing answers."""
    status, body = _get(admin_port, "/readyz")
    if status == 0:
        return "its admin port does not answer yet"
    try:
        report = json.loads(body)
        parts = report.get("parts", report)
        bad = [f"{name}: {why}" for name, why in parts.items() if why != "ok"]
        return "; ".join(bad) or f"status {status}"
    except (ValueError, AttributeError):
        return f"status {status}"


def taken_ports(wanted: Iterable[tuple[int, str]]) -> list[tuple[int, str, str]]:
    """Of (port, what for): those that somebody listens on, with the holder's name and pid."""
    return [(port, what, _holder(port)) for port, what in wanted if _is_taken(port)]


def _get(admin_port: int, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", admin_port, timeout=PROBE_TIMEOUT_S)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode(errors="replace")
    except (OSError, http.client.HTTPException):
        return 0, ""
    finally:
        connection.close()


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
        return False


def _holder(port: int) -> str:
    try:
        for connection in psutil.net_connections("tcp"):
            if connection.laddr and connection.laddr.port == port and connection.status == psutil.CONN_LISTEN:
                return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
    except psutil.Error:
        return "another process"
    return "another process"
