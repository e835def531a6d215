"""A whole Corkboard for tests: its own folder and ports, started once, with its processes at hand by name."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import psutil

from chassis.errors import CorkboardError, Unavailable
from corkboard.local.control import ask
from corkboard.local.home import Home
from corkboard.local.process import resident_bytes
from corkboard.local.run_file import RunFile
from corkboard.session import Endpoints, Session, connected
from corkboard.traces.store import TraceStore

T = TypeVar("T")
UP_WITHIN_S = 180.0
PORT_BASES = range(27600, 32100, 500)  # below the ports that the kernel gives to clients
CLAIM_OFFSET = 499


class House:
    """Starts `corkboard up --detach` in `folder`; every process can be stopped, started, killed and paused."""

    def __init__(self, folder: Path, port_base: int) -> None:
        self.home = Home(folder)
        self.port_base = port_base
        self.last_printed = self.last_said = ""

    def up(self, *options: str) -> None:
        self.command("up", "--detach", "--port-base", str(self.port_base), *options, timeout_s=UP_WITHIN_S)

    def down(self) -> None:
        self.command("down", timeout_s=90.0)

    def command(self, *arguments: str, timeout_s: float = 120.0) -> str:
        """Run `corkboard …` as a person would; returns stdout. A failure shows what it said."""
        done = self._run(arguments, timeout_s)
        assert done.returncode == 0, f"corkboard {' '.join(arguments)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def attempt(self, *arguments: str, timeout_s: float = 120.0) -> tuple[int, str]:
        """Run `corkboard …` that may fail; returns its exit code and what it said on stderr."""
        done = self._run(arguments, timeout_s)
        return done.returncode, done.stderr

    def _run(self, arguments: Sequence[str], timeout_s: float) -> "subprocess.CompletedProcess[str]":
        done = subprocess.run(
            [sys.executable, "-m", "corkboard", *arguments],
            capture_output=True,
            text=True,
            timeout=timeout_s,
            env=os.environ | {"CORKBOARD_HOME": str(self.home.root), "NO_COLOR": "1"},
            check=False,
        )
        self.last_printed, self.last_said = done.stdout, done.stderr
        return done

    @property
    def endpoints(self) -> Endpoints:
        return Endpoints.of_running(self.home)

    @property
    def traces(self) -> TraceStore:
        return TraceStore(self.home.traces)

    def run(self, work: Callable[[Session], Coroutine[Any, Any, T]]) -> T:
        """Run `work` with a session to this house."""

        async def main() -> T:
            async with connected(self.endpoints) as session:
                return await work(session)

        return asyncio.run(main())

    def stop(self, name: str) -> None:
        ask(self.home.control_socket, "stop", name=name)

    def start(self, name: str) -> None:
        ask(self.home.control_socket, "start", name=name)

    def pid(self, name: str) -> int:
        return int(self._row(name)["pid"])

    def pid_or_none(self, name: str) -> int | None:
        """None while it does not run."""
        return self._row(name)["pid"]  # type: ignore[no-any-return]

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal straight to the process: SIGKILL is a crash, SIGSTOP a pause."""
        os.kill(self.pid(name), number)

    def wait_ready(self, name: str, within_s: float = 60.0) -> None:
        """Return when the process says that it is ready."""
        give_up_s = time.monotonic() + within_s
        while (state := self._row(name)["state"]) not in ("ready", "running"):
            assert time.monotonic() < give_up_s, f"{name} is {state} after {within_s:.0f} s"
            time.sleep(0.2)

    def resident_mb(self) -> dict[str, int]:
        report = ask(self.home.control_socket, "status")
        return {row["name"]: row["resident_mb"] for row in report["processes"]}

    def resident_by_pid(self) -> dict[str, tuple[int, int]]:
        """(pid, resident MB) of each process that runs, by its name, without asking any of them."""
        run = RunFile.read(self.home.state_file)
        alive = run.alive() if run else []
        return {one.name: (one.pid, round(resident_bytes(one.pid) / 1e6)) for one in alive}

    def cpu_s(self) -> dict[str, float]:
        """Seconds of CPU that each process has used, by its name."""
        report = ask(self.home.control_socket, "status")
        running = {row["name"]: psutil.Process(row["pid"]) for row in report["processes"] if row["pid"]}
        return {name: sum(process.cpu_times()[:2]) for name, process in running.items()}

    def _row(self, name: str) -> dict[str, Any]:
        report = ask(self.home.control_socket, "status")
        return next(row for row in report["processes"] if row["name"] == name)


async def eventually(check: Callable[[], Coroutine[Any, Any, bool]], within_s: float, every_s: float = 0.05) -> float:
    """Wait until `check` holds; returns the seconds it took. An error of the platform counts as "not yet"."""
    start_s = time.monotonic()
    while time.monotonic() - start_s < within_s:
        try:
            if await check():
                return time.monotonic() - start_s
        except CorkboardError:
            pass
        await asyncio.sleep(every_s)
    raise AssertionError(f"not within {within_s} s")


@contextmanager
def claimed_port_base() -> Iterator[int]:
    """A base that no other run on this machine uses: its last port is held as long as the run lasts.

    Raises: Unavailable when all are taken.
    """
    for base in PORT_BASES:
        with socket.socket() as claim:
            try:
                claim.bind(("127.0.0.1", base + CLAIM_OFFSET))
            except OSError:
                continue
            yield base
            return
    raise Unavailable(f"{len(PORT_BASES)} runs seem to go on already: ports {PORT_BASES} are taken; end one of them")
