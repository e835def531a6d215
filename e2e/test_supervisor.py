"""The supervisor restarts nothing silently, recognises what an earlier run left, and leaves nothing running."""

import json
import os
import signal
import time
from pathlib import Path

import psutil
import pytest

from corkboard.local.run_file import RunFile
from e2e.house import House

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
PORT_BASE = 25100


def alive(pids: list[int]) -> list[int]:
    return [pid for pid in pids if psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE]


def test_a_crash_is_told_and_counted(house: House) -> None:
    pid = house.pid("quota")
    house.signal("quota", signal.SIGKILL)
    give_up_s = time.monotonic() + 20
    while house.pid_or_none("quota") in (None, pid):
        assert time.monotonic() < give_up_s
        time.sleep(0.1)
    house.wait_ready("quota")
    status = json.loads(house.command("status", "--json"))
    assert next(row["restarts"] for row in status["processes"] if row["name"] == "quota") >= 1
    assert "quota ended with code -9" in (house.home.logs / "supervisor.log").read_text()


def test_taken_ports_are_named_with_their_holder(house: House, tmp_path: Path) -> None:
    other = House(tmp_path / "other", house.port_base)
    code, said = other.attempt("up", "--detach", "--port-base", str(house.port_base))
    assert code == 4
    log = (other.home.logs / "supervisor.log").read_text()
    assert "pid" in log
    assert "--port-base" in log
    assert said


def test_what_a_dead_supervisor_left_is_ended_by_the_next_up(tmp_path: Path) -> None:
    house = House(tmp_path / "house", PORT_BASE)
    house.up()
    run = RunFile.read(house.home.state_file)
    assert run is not None
    os.kill(run.supervisor.pid, signal.SIGKILL)
    pids = [process.pid for process in run.processes]
    assert alive(pids), "the processes outlive a killed supervisor"
    try:
        house.up()
        assert alive(pids) == []
        assert "left over from an earlier run" in house.last_said
    finally:
        house.down()
    again = RunFile.read(house.home.state_file)
    assert again is None
