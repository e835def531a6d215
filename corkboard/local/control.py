"""How the command line talks to a running supervisor: one JSON line each way over a private Unix socket."""

import json
import os
import socket
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from chassis.errors import CorkboardError, NotFound, Unavailable

Handler = Callable[[Mapping[str, Any]], Mapping[str, Any]]
MAX_LINE_BYTES = 1 << 20
CALL_TIMEOUT_S = 90.0  # stopping a service may take its whole drain time


class ControlServer:
    """Answers requests one after the other in a thread of its own."""

    def __init__(self, path: Path, handle: Handler) -> None:
        self._path = path
        self._handle = handle
        self._listener: socket.socket | None = None

    def start(self) -> None:
        self._path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(self._path))
        os.chmod(self._path, 0o600)
        listener.listen(8)
        self._listener = listener
        threading.Thread(target=self._serve, args=(listener,), name="control", daemon=True).start()

    def stop(self) -> None:
        if self._listener:
            self._listener.close()
        self._path.unlink(missing_ok=True)

    def _serve(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rwb") as stream:
            try:
                reply = dict(self._handle(json.loads(stream.readline(MAX_LINE_BYTES))))
            except (ValueError, KeyError, CorkboardError) as error:
                reply = {"error": str(error), "status": getattr(error, "status", NotFound.status)}
            stream.write(json.dumps(reply).encode() + b"\n")


def ask(path: Path, verb: str, **arguments: Any) -> dict[str, Any]:
    """Send one request.

    Raises: Unavailable when no supervisor listens or a server does not start, NotFound when it does not know what
    was named.
    """
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(CALL_TIMEOUT_S)
            connection.connect(str(path))
            with connection.makefile("rwb") as stream:
                stream.write(json.dumps({"verb": verb, **arguments}).encode() + b"\n")
                stream.flush()
                reply: dict[str, Any] = json.loads(stream.readline(MAX_LINE_BYTES))
    except (OSError, ValueError) as error:
        raise Unavailable("Corkboard is not running here; start it with: corkboard up") from error
    if "error" in reply:
        raise (Unavailable if reply["status"] == Unavailable.status else NotFound)(reply["error"])
    return reply
