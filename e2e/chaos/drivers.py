"""Does to a house what a schedule says, and undoes it; only to processes that its own supervisor started."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence

import psutil

from chassis.errors import Unavailable
from corkboard.local.control import ask
from corkboard.local.run_file import RunFile
from e2e.chaos import data_faults, secrets_change
from e2e.chaos.history import INFO, Record
from e2e.chaos.scenario import Fault
from e2e.chaos.stand_ins import READY_WITHIN_S, Stage
from e2e.house import House

DIES_WITHIN_S = 20.0
SERVERS = ("kafka-", "valkey")
LINK_FAULTS = ("slow", "cut", "lossy", "half_open", "lost_acks")
WRONG = "wrong_"  # and then how answers are wrong
FULL_AT_BYTES = 4_096  # what a file of the broker may hold while its disk is "full": less than any log has
Add = Callable[[Record], None]


class Driver:
    """One run's faults. `add` takes records of what was done, `now_s` tells the run's time."""

    def __init__(self, house: House, stage: Stage, add: Add, now_s: Callable[[], float]) -> None:
        self._house, self._stage, self._add, self._now_s = house, stage, add, now_s

    async def run(self, fault: Fault) -> None:
        """Begin the fault, wait `for_s`, undo it."""
        target = fault.target if fault.target.startswith("zone:") else fault.target.partition(":")[0]
        self._note(target, fault.action, "begin")
        try:
            await self._do(fault)
            await asyncio.sleep(0 if fault.action in DATA_FAULTS else fault.for_s)
            await self._undo(fault)
        finally:
            self._note(target, fault.action, "end")

    async def _do(self, fault: Fault) -> None:
        if fault.action in DATA_FAULTS:
            for record in await DATA_FAULTS[fault.action](self._house, fault):
                self._add(Record(self._now_s(), *record))
        elif fault.action in LINK_FAULTS:
            assert self._stage.proxy is not None, f"{fault.action} needs a scenario with a link"
            self._stage.proxy.set(fault.action, fault.strength)
        elif fault.action.startswith(WRONG):
            self._stage.spoil(fault.action.removeprefix(WRONG), fault.strength)
        elif fault.action == "restart":
            await asyncio.to_thread(self._restart, fault.target)
        else:
            await asyncio.to_thread(PROCESS_FAULTS[fault.action], self._house, fault)

    async def _undo(self, fault: Fault) -> None:
        house, target = self._house, fault.target
        if fault.action in LINK_FAULTS and self._stage.proxy is not None:
            self._stage.proxy.set("")
        elif fault.action.startswith(WRONG):
            self._stage.spoil("", 0.0)
        elif fault.action == "pause":
            send(house, target, signal.SIGCONT)
        elif fault.action == "zone_away":
            await asyncio.to_thread(_start_zone, house, target)
        elif fault.action == "zone_pause":
            await asyncio.to_thread(_signal_zone, house, target, signal.SIGCONT)
        elif fault.action == "disk_full":
            await asyncio.to_thread(_free_disk, house, target)
        elif fault.action == "away" or (fault.action == "kill" and target.startswith(SERVERS)):
            await asyncio.to_thread(house.start, target)  # services are started again by the supervisor

    def _restart(self, name: str) -> None:
        """In order; and then the second process, if there is one: never both at once."""
        self._house.stop(name)
        self._house.start(name)
        self._house.wait_ready(name, READY_WITHIN_S)
        if name in self._stage.twins:
            twin = self._stage.twins[name]
            twin.stop()
            twin.start()
            twin.wait_ready()

    def _note(self, target: str, action: str, value: str) -> None:
        self._add(Record(self._now_s(), target, "fault", action, value, INFO))


def own_pid(house: House, name: str) -> int:
    """The pid of a process of this house.

    Raises: Unavailable when it does not run, or its supervisor did not write it down as its own.
    """
    run = RunFile.read(house.home.state_file)
    pid = house.pid_or_none(name)
    if run is None or pid is None:
        raise Unavailable(f"{name} does not run")
    if not psutil.Process(pid).ppid() == run.supervisor.pid or not run.supervisor.is_alive():
        raise Unavailable(f"{name} (pid {pid}) was not started by this Corkboard: left alone")
    return pid


def send(house: House, name: str, number: signal.Signals) -> None:
    """A signal to a process of this house."""
    os.kill(own_pid(house, name), number)


def crash_at(house: House, target: str, num_passes: int) -> None:
    """Run `service:step` as a process that kills itself at that step; then start the service again.

    Raises: Unavailable when it does not come to that step in time.
    """
    service, _, step = target.partition(":")
    environment = psutil.Process(own_pid(house, service)).environ()
    house.stop(service)
    command = [sys.executable, "-m", "e2e.crashing_service", service]
    settings = environment | {"CRASH_STEP": step, "CRASH_AT": str(num_passes)}
    child = subprocess.Popen(command, env=settings, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        if child.wait(DIES_WITHIN_S) != -signal.SIGKILL:
            raise Unavailable(f"{target} ended with {child.returncode} instead of killing itself")
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{target} did not come to its step in {DIES_WITHIN_S:.0f} s") from None
    finally:
        child.kill()
        child.wait()
        house.start(service)


def _fill_disk(house: House, target: str) -> None:
    """No file of the process may grow: its writes fail as they do on a full disk (EFBIG in place of ENOSPC)."""
    process = psutil.Process(own_pid(house, target))
    _, hard = process.rlimit(psutil.RLIMIT_FSIZE)
    process.rlimit(psutil.RLIMIT_FSIZE, (FULL_AT_BYTES, hard))


def _free_disk(house: House, target: str) -> None:
    """A broker without a place to write ends itself: then it is started again, as whoever freed the disk would."""
    if house.pid_or_none(target) is None:
        house.start(target)
        return
    process = psutil.Process(own_pid(house, target))
    _, hard = process.rlimit(psutil.RLIMIT_FSIZE)
    process.rlimit(psutil.RLIMIT_FSIZE, (hard, hard))


def _of_zone(house: House, target: str) -> Sequence[str]:
    """Processes of `zone:NAME`, its store among them."""
    rows = ask(house.home.control_socket, "status")["processes"]
    return [row["name"] for row in rows if row["name"].endswith(f"-{target.removeprefix('zone:')}")]


def _end_zone(house: House, target: str) -> None:
    """All at once, and none is started again."""
    names = _of_zone(house, target)
    for name in names:
        send(house, name, signal.SIGKILL)
    for name in names:
        house.stop(name)


def _signal_zone(house: House, target: str, number: signal.Signals) -> None:
    for name in _of_zone(house, target):
        send(house, name, number)


def _start_zone(house: House, target: str) -> None:
    for name in _of_zone(house, target):
        house.start(name)


PROCESS_FAULTS: Mapping[str, Callable[[House, Fault], None]] = {
    "kill": lambda house, fault: send(house, fault.target, signal.SIGKILL),
    "pause": lambda house, fault: send(house, fault.target, signal.SIGSTOP),
    "away": lambda house, fault: house.stop(fault.target),
    "crash_at": lambda house, fault: crash_at(house, fault.target, int(fault.strength)),
    "disk_full": lambda house, fault: _fill_disk(house, fault.target),
    "zone_away": lambda house, fault: _end_zone(house, fault.target),
    "zone_pause": lambda house, fault: _signal_zone(house, fault.target, signal.SIGSTOP),
}
DATA_FAULTS = {
    "flush": data_faults.flush,
    "change_type": data_faults.set_wrong_types,
    "poison": data_faults.poison,
    "join": data_faults.join_group,
    "bad_bundle": data_faults.announce_bad_bundle,
    "rotate": secrets_change.rotate,
}
