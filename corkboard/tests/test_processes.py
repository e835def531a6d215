"""Child processes: started, stopped, killed, recognised again."""

import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from corkboard.local.process import ManagedProcess, created_at_s, end_by_pid, resident_bytes
from corkboard.local.run_file import RunFile, RunningProcess
from corkboard.tests.tiny_services import python

SLEEP = "import time; print('up', flush=True); time.sleep(60)"
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[str], ManagedProcess]]:
    """Start `python -c code` and wait until it speaks; whatever is left at the end is killed."""
    started: list[ManagedProcess] = []

    def starting(code: str) -> ManagedProcess:
        process = python(code, tmp_path / f"log-{len(started)}.txt")
        process.start()
        started.append(process)
        wait_until(lambda: "up" in process.log_tail())
        return process

    yield starting
    for process in started:
        process.kill()


def wait_until(check: Callable[[], bool], within_s: float = 10.0) -> None:
    give_up_s = time.monotonic() + within_s
    while not check():
        assert time.monotonic() < give_up_s, f"not within {within_s} s"
        time.sleep(0.02)


def test_a_process_runs_until_it_is_stopped(start: Callable[[str], ManagedProcess]) -> None:
    process = start(SLEEP)
    assert process.is_running() and process.exit_code is None
    assert resident_bytes(process.pid or 0) > 1_000_000
    process.stop()
    assert [process.is_running(), process.pid, process.exit_code] == [False, None, -signal.SIGTERM]


def test_a_process_that_does_not_hear_is_killed_after_its_grace(start: Callable[[str], ManagedProcess]) -> None:
    process = start(DEAF)
    process.stop(grace_s=0.2)
    assert process.exit_code == -signal.SIGKILL


def test_a_paused_process_is_stopped_in_order(start: Callable[[str], ManagedProcess]) -> None:
    process = start(SLEEP)
    assert process._child is not None
    process._child.send_signal(signal.SIGSTOP)
    begun_s = time.monotonic()
    process.stop(grace_s=10.0)
    assert process.exit_code == -signal.SIGTERM and time.monotonic() - begun_s < 5.0


def test_a_kill_is_a_crash(start: Callable[[str], ManagedProcess]) -> None:
    process = start(SLEEP)
    process.kill()
    assert process.exit_code == -signal.SIGKILL


def test_a_process_can_start_again_and_its_log_goes_on(start: Callable[[str], ManagedProcess]) -> None:
    process = start(SLEEP)
    process.kill()
    process.start()
    wait_until(lambda: process.log_tail().count("up") == 2)
    assert process.is_running() and process.num_starts == 2


def test_stopping_what_never_started_is_nothing(tmp_path: Path) -> None:
    process = python(SLEEP, tmp_path / "log.txt")
    process.stop()
    process.kill()
    assert process.exit_code is None and process.log_tail() == "(no log)"


def test_the_tail_of_a_log_is_its_last_lines(tmp_path: Path) -> None:
    process = python("print(*range(40), sep=chr(10))", tmp_path / "log.txt")
    process.start()
    wait_until(lambda: not process.is_running())
    assert process.log_tail(3) == "37\n38\n39"


def test_a_process_of_an_earlier_run_is_ended_by_pid(start: Callable[[str], ManagedProcess]) -> None:
    process = start(SLEEP)
    assert process.pid and process._child
    process._child.send_signal(signal.SIGSTOP)
    end_by_pid(process.pid, grace_s=0.3)
    wait_until(lambda: not process.is_running())
    end_by_pid(process._child.pid, grace_s=0.1)  # already gone: nothing happens


def test_a_reused_pid_is_not_taken_for_the_old_process(start: Callable[[str], ManagedProcess]) -> None:
    process = start(SLEEP)
    assert process.pid
    seen = RunningProcess("tiny", process.pid, created_at_s(process.pid))
    assert seen.is_alive()
    assert not replace(seen, created_at_s=seen.created_at_s - 60).is_alive()
    process.kill()
    assert not seen.is_alive()
    assert created_at_s(seen.pid) == 0.0 and resident_bytes(seen.pid) == 0


def test_a_run_file_says_what_still_lives(start: Callable[[str], ManagedProcess], tmp_path: Path) -> None:
    process = start(SLEEP)
    assert process.pid
    alive = RunningProcess("alive", process.pid, created_at_s(process.pid))
    stale = RunningProcess("stale", process.pid, 12.5)
    written = RunFile(alive, 7100, ("az-a", "az-b"), 3, (alive, stale))
    written.write(tmp_path / "run.json")
    read = RunFile.read(tmp_path / "run.json")
    assert read == written and read is not None and read.alive() == [alive]
    assert [path.name for path in tmp_path.glob("*.tmp")] == []


@pytest.mark.parametrize("text", [None, "", "{", "[]", '{"supervisor": {"pid": 1}}', '{"supervisor": 7}'])
def test_an_unreadable_run_file_means_that_nothing_is_known(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "run.json"
    if text is not None:
        path.write_text(text)
    assert RunFile.read(path) is None


def test_the_interpreter_of_children_is_ours(tmp_path: Path) -> None:
    process = python("import sys; print(sys.executable)", tmp_path / "log.txt")
    process.start()
    wait_until(lambda: not process.is_running())
    assert process.log_tail() == sys.executable
