"""The supervisor over tiny child processes: starting, crashing, stopping; no servers."""

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from chassis.errors import NotFound, Unavailable
from corkboard.local.control import ask
from corkboard.local.home import Home
from corkboard.local.options import Options, parse_zones
from corkboard.local.plan import Addresses, Plan, ServiceSpec
from corkboard.local.run_file import RunFile
from corkboard.local.supervisor import Supervisor
from corkboard.tests.tiny_services import tiny_spec

GIVEN_SERVERS = Options(kafka="127.0.0.1:1", redis="redis://127.0.0.1:1/0", otlp="http://127.0.0.1:1", page=False)


class TinySupervisor(Supervisor):
    """Everything of the real one but the plan."""

    def __init__(self, home: Home, specs: list[ServiceSpec], said: list[str]) -> None:
        self.prepared: list[tuple[str, int]] = []
        super().__init__(home, GIVEN_SERVERS, said.append, lambda *asked: self.prepared.append(asked))
        self._tiny = tuple(specs)

    def _plan(self, addresses: Addresses) -> Plan:
        return Plan(("local",), self._tiny)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture
def said() -> list[str]:
    return []


@contextmanager
def watching(supervisor: Supervisor) -> Iterator[None]:
    """Started and watched until the block ends; then everything is stopped."""
    supervisor.start()
    thread = threading.Thread(target=supervisor.watch)
    thread.start()
    try:
        yield
    finally:
        supervisor.ask_down()
        thread.join()
        supervisor.stop()


def wait_until(check: Callable[[], bool], within_s: float = 15.0) -> None:
    give_up_s = time.monotonic() + within_s
    while not check():
        assert time.monotonic() < give_up_s, f"not within {within_s} s"
        time.sleep(0.05)


def pid_of(home: Home, name: str) -> int | None:
    rows = ask(home.control_socket, "status")["processes"]
    return next((row["pid"] for row in rows if row["name"] == name), None)


def test_the_life_of_a_house(home: Home, tmp_path: Path, said: list[str]) -> None:
    supervisor = TinySupervisor(home, [tiny_spec("one", tmp_path), tiny_spec("two", tmp_path)], said)
    with watching(supervisor):
        assert supervisor.prepared == [("127.0.0.1:1", 1)]
        assert {"one is ready", "two is ready"} <= set(said)
        report = ask(home.control_socket, "status")
        assert report["is_ready"] and [row["name"] for row in report["processes"]] == ["one", "two", "supervisor"]
        assert [row["state"] for row in report["processes"]] == ["ready", "ready", "running"]
        run = RunFile.read(home.state_file)
        assert run is not None and run.supervisor.pid == os.getpid()
        assert [process.name for process in run.alive()] == ["one", "two"]
        _stop_and_start(home)
    assert run.alive() == []
    assert not home.state_file.exists() and not home.control_socket.exists()


def _stop_and_start(home: Home) -> None:
    ask(home.control_socket, "stop", name="one")
    states = {row["name"]: row["state"] for row in ask(home.control_socket, "status")["processes"]}
    assert states["one"] == "stopped"
    ask(home.control_socket, "start", name="one")
    assert pid_of(home, "one")
    with pytest.raises(NotFound, match=r"'three'; there are: one, two"):
        ask(home.control_socket, "stop", name="three")
    with pytest.raises(NotFound, match="unknown verb 'dance'"):
        ask(home.control_socket, "dance", name="one")


def test_a_crash_is_said_loudly_and_mended(home: Home, tmp_path: Path, said: list[str]) -> None:
    with watching(TinySupervisor(home, [tiny_spec("one", tmp_path)], said)):
        first = pid_of(home, "one")
        assert first
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: pid_of(home, "one") not in (None, first))
        (remark,) = [text for text in said if "ended" in text]
        assert "one ended with code -9; starting it again" in remark and str(home.logs / "one.log") in remark
        rows = ask(home.control_socket, "status")["processes"]
        assert next(row["restarts"] for row in rows if row["name"] == "one") == 1
        wait_until(lambda: _recorded_pid(home) == pid_of(home, "one"))


def _recorded_pid(home: Home) -> int | None:
    run = RunFile.read(home.state_file)
    return run.processes[0].pid if run and run.processes else None


def test_what_was_stopped_on_purpose_stays_stopped(home: Home, tmp_path: Path, said: list[str]) -> None:
    with watching(TinySupervisor(home, [tiny_spec("one", tmp_path)], said)):
        ask(home.control_socket, "stop", name="one")
        time.sleep(0.5)  # more than two rounds of the watch
        assert pid_of(home, "one") is None
    assert [text for text in said if "starting it again" in text] == []


def test_a_child_that_dies_while_starting_stops_everything(home: Home, tmp_path: Path, said: list[str]) -> None:
    specs = [tiny_spec("healthy", tmp_path), tiny_spec("broken", tmp_path, exit_code="3")]
    with pytest.raises(Unavailable, match=r"(?s)broken ended with code 3 while starting.*I cannot go on"):
        TinySupervisor(home, specs, said).start()
    left = [child for child in psutil.Process().children() if "tiny_service" in " ".join(child.cmdline())]
    assert left == [] and not home.state_file.exists() and not home.control_socket.exists()


def test_a_taken_port_names_its_holder_and_nothing_starts(home: Home, tmp_path: Path, said: list[str]) -> None:
    spec = tiny_spec("one", tmp_path)
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", spec.grpc_port))
        holder.listen()
        with pytest.raises(Unavailable) as caught:
            TinySupervisor(home, [spec], said).start()
    assert f"{spec.grpc_port} (one) is held by" in caught.value.message
    assert f"(pid {os.getpid()})" in caught.value.message and "--port-base" in caught.value.message
    assert not home.state_file.exists() and said == []


def test_down_ends_the_watch(home: Home, tmp_path: Path, said: list[str]) -> None:
    supervisor = TinySupervisor(home, [tiny_spec("one", tmp_path)], said)
    with watching(supervisor):
        assert ask(home.control_socket, "down") == {"ok": True}
        wait_until(supervisor._down.is_set)


@pytest.mark.parametrize(("text", "zones"), [("local", ("local",)), (" a, b ,a,,c", ("a", "b", "c"))])
def test_zones_are_unique_and_in_order(text: str, zones: tuple[str, ...]) -> None:
    assert parse_zones(text) == zones


def test_a_server_that_does_not_start_again_is_told_as_it_is(home: Home, tmp_path: Path, said: list[str]) -> None:
    class BrokenServer:
        address, pid = "127.0.0.1:1", None

        def is_running(self) -> bool:
            return False

        def start(self) -> None:
            raise Unavailable("Valkey did not start: out of memory")

        def stop(self) -> None:
            """Nothing runs."""

    supervisor = TinySupervisor(home, [tiny_spec("one", tmp_path)], said)
    with watching(supervisor):
        supervisor._servers.by_name["valkey"] = BrokenServer()
        with pytest.raises(Unavailable, match="Valkey did not start: out of memory"):
            ask(home.control_socket, "start", name="valkey")
