"""A real PostgreSQL for tests: a cluster of its own in a temporary folder, on a socket, never as root."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

SETTINGS = "-c listen_addresses= -c fsync=off -c full_page_writes=off -c max_connections=40 -c shared_buffers=16MB"
UNPRIVILEGED = ("postgres", "nobody")  # the server refuses to run as root


def programs() -> Path | None:
    """The folder of initdb and pg_ctl, None when PostgreSQL is not installed."""
    found = shutil.which("initdb")
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return Path(found).resolve().parent if found else debian[-1].parent if debian else None


def missing() -> str:
    """Why there can be no server here; "" when there can."""
    if programs() is None:
        return "PostgreSQL is not installed (Debian: apt-get install postgresql)"
    return "" if os.geteuid() != 0 or _user() else "as root a user such as 'postgres' is needed to run PostgreSQL"


class PostgresServer:
    """One cluster."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._bin = programs() or Path()
        self._user = _user() if os.geteuid() == 0 else None

    @property
    def url(self) -> str:
        """A libpq address over the socket."""
        user = self._user or pwd.getpwuid(os.geteuid()).pw_name
        return f"postgresql://{user}@/postgres?host={self._folder}"

    def create(self) -> None:
        """Make the cluster and start it."""
        if self._user:
            shutil.chown(self._folder, self._user)
        self._run("initdb", "-D", str(self._data), "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "-N")
        self.start()

    def start(self) -> None:
        """Returns when it takes connections."""
        options = f"{SETTINGS} -c unix_socket_directories={self._folder}"
        self._run("pg_ctl", "-D", str(self._data), "-w", "-l", str(self._folder / "log"), "-o", options, "start")

    def stop(self) -> None:
        """At once, as a crash would."""
        self._run("pg_ctl", "-D", str(self._data), "-w", "-m", "immediate", "stop")

    def new_schema(self, name: str) -> str:
        """The address of an empty schema: as good as a database of its own, and made at once."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f"CREATE SCHEMA {name}".encode())
        return f"{self.url}&options=-csearch_path%3D{name}"

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    def _run(self, program: str, *arguments: str) -> None:
        # Not `user=`: that would fork this process, which the threads of gRPC do not survive.
        become = ["runuser", "-u", self._user, "--"] if self._user else []
        done = subprocess.run(  # noqa: S603 - programs of PostgreSQL itself
            [*become, str(self._bin / program), *arguments],
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if program != "pg_ctl" else subprocess.DEVNULL,  # the server keeps what it inherits
            stderr=subprocess.STDOUT,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, f"{program}: {done.stdout!r}"


@contextmanager
def running() -> Iterator[PostgresServer]:
    """A started cluster, removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="corkboard-postgres-"))
    server = PostgresServer(folder)
    try:
        server.create()
        yield server
        server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _user() -> str | None:
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next((name for name in UNPRIVILEGED if name in known), None)
