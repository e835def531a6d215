"""Does to a house what a schedule says, and undoes it; only to processes that its own supervisor started."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack

import psutil
import redis
from aiokafka import AIOKafkaProducer

from chassis.errors import Unavailable
from corkboard.local.run_file import RunFile
from e2e.chaos.history import INFO, Record
from e2e.chaos.proxy import Proxy
from e2e.chaos.scenarios import Fault
from e2e.house import House
from protos import topics

DIES_WITHIN_S = 20.0
READY_WITHIN_S = 90.0
SERVERS = ("kafka-", "valkey")
LINK_FAULTS = ("slow", "cut", "lossy", "half_open")
Add = Callable[[Record], None]


class Driver:
    """One run's faults. `add` takes records of what was done, `now_s` tells the run's time."""

    def __init__(self, house: House, link: "Link | None", add: Add, now_s: Callable[[], float]) -> None:
        self._house, self._link, self._add, self._now_s = house, link, add, now_s

    async def run(self, fault: Fault) -> None:
        """Begin the fault, wait `for_s`, undo it."""
        target = fault.target.partition(":")[0]
        self._note(target, fault.action, "begin")
        try:
            if fault.action in LINK_FAULTS:
                assert self._link is not None, f"{fault.action} needs a scenario with a link"
                self._link.proxy.set(fault.action, fault.strength)
                await asyncio.sleep(fault.for_s)
                self._link.proxy.set("")
            elif fault.action == "poison":
                await self._poison(int(fault.strength))
            else:
                await asyncio.to_thread(self._do, fault)
                await asyncio.sleep(fault.for_s)
                await asyncio.to_thread(self._undo, fault)
        finally:
            self._note(target, fault.action, "end")

    def _do(self, fault: Fault) -> None:
        house, target = self._house, fault.target
        if fault.action == "kill":
            send(house, target, signal.SIGKILL)
        elif fault.action == "pause":
            send(house, target, signal.SIGSTOP)
        elif fault.action == "flush":
            own_pid(house, target)
            with redis.Redis(host="127.0.0.1", port=house.endpoints.ports.valkey()) as store:
                store.flushall()
        elif fault.action == "restart":
            house.stop(target)
            house.start(target)
            house.wait_ready(target, READY_WITHIN_S)
        elif fault.action == "crash_at":
            crash_at(house, target, int(fault.strength))
        else:
            raise ValueError(f"unknown action {fault.action!r}")

    def _undo(self, fault: Fault) -> None:
        if fault.action == "pause":
            send(self._house, fault.target, signal.SIGCONT)
        if fault.action == "kill" and fault.target.startswith(SERVERS):
            self._house.start(fault.target)  # services are started again by the supervisor

    async def _poison(self, partition: int) -> None:
        """Bytes that are no envelope, straight into the topics that enrich and the indexer read."""
        producer = AIOKafkaProducer(bootstrap_servers=self._house.endpoints.kafka)
        await producer.start()
        try:
            for topic in (topics.EVENTS_ACCEPTED, topics.EVENTS_ENRICHED):
                await producer.send_and_wait(topic.name, b"\xff\x00poison", partition=partition)
                self._add(Record(self._now_s(), topic.name, "sample", "poison", 1))
        finally:
            await producer.stop()

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


class Link:
    """A caller started once more with a proxy where it looks for its callee; the real one waits until `stop`."""

    def __init__(self, house: House, caller: str, callee: str) -> None:
        self._house, self._caller, self._callee = house, caller, callee
        self._stack = ExitStack()
        ports = house.endpoints.ports
        self._port = ports.valkey() if callee == "valkey" else ports.grpc(callee)
        self.proxy = Proxy(self._port)

    async def start(self) -> None:
        await self.proxy.start()
        await asyncio.to_thread(self._replace)

    async def stop(self) -> None:
        await asyncio.to_thread(self._stack.close)
        await self.proxy.stop()
        await asyncio.to_thread(self._house.wait_ready, self._caller, READY_WITHIN_S)

    def _replace(self) -> None:
        process = psutil.Process(own_pid(self._house, self._caller))
        here, there = f"127.0.0.1:{self._port}", f"127.0.0.1:{self.proxy.port}"
        settings = {name: value.replace(here, there) for name, value in process.environ().items()}
        argv, folder = process.cmdline(), process.cwd()
        self._house.stop(self._caller)
        self._stack.callback(self._house.start, self._caller)
        log = self._stack.enter_context((self._house.home.logs / f"{self._caller}.log").open("ab"))
        child = subprocess.Popen(argv, env=settings, cwd=folder, stdout=log, stderr=log)
        self._stack.callback(_end, child)


def _end(child: "subprocess.Popen[bytes]") -> None:
    child.terminate()
    try:
        child.wait(15.0)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
