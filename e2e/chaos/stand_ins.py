"""Processes of a house with other settings for one scenario: behind a proxy, as a second one, ready to be wrong.

The settings are those of the process that the supervisor started, so nothing here knows which service wants what.
"""

import json
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil

from chassis.errors import Unavailable
from chassis.grpc.wrong_answers import FILE
from corkboard.local import probes
from e2e.chaos.kafka_proxy import KafkaProxy
from e2e.chaos.proxy import Proxy
from e2e.house import House

READY_WITHIN_S = 90.0
STOPS_WITHIN_S = 15.0
Settings = Mapping[str, str]
Change = Callable[[Settings], Settings]


class StandIn:
    """One process, started as the house's own is, but for what `change` does to its settings."""

    def __init__(self, house: House, name: str, pid: int, change: Change) -> None:
        process = psutil.Process(pid)
        self.settings = change(process.environ())
        self._argv, self._folder = process.cmdline(), process.cwd()
        self._log = house.home.logs / f"{name}.log"
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def prefix(self) -> str:
        """Of its settings' names, such as RANKER_."""
        return next(name for name in self.settings if name.endswith("_ADMIN_PORT")).removesuffix("ADMIN_PORT")

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.settings[f'{self.prefix}GRPC_PORT']}"

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._child = subprocess.Popen(self._argv, env=self.settings, cwd=self._folder, stdout=log, stderr=log)

    def stop(self) -> None:
        """Ask, wait, kill."""
        child, self._child = self._child, None
        if child is None:
            return
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(STOPS_WITHIN_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()

    def wait_ready(self) -> None:
        """Raises: Unavailable when it is not, in time."""
        admin_port, give_up_s = int(self.settings[f"{self.prefix}ADMIN_PORT"]), time.monotonic() + READY_WITHIN_S
        while not probes.is_ready(admin_port):
            if time.monotonic() > give_up_s:
                raise Unavailable(f"{self._argv[-1]} is not ready: {probes.why_not_ready(admin_port)}")
            time.sleep(0.1)


class Stage:
    """What a scenario needs beside the house; the house's own processes come back with `clear`."""

    def __init__(self, house: House, own_pid: Callable[[House, str], int]) -> None:
        self._house, self._own_pid = house, own_pid
        self._replaced: dict[str, StandIn] = {}
        self.twins: dict[str, StandIn] = {}
        self.proxy: Proxy | None = None
        self._faults: Path | None = None

    async def link(self, caller: str, callee: str) -> None:
        """The caller, with a proxy where it looks for its callee."""
        ports = self._house.endpoints.ports
        is_kafka = callee.startswith("kafka-")
        port = ports.kafka() if is_kafka else ports.valkey() if callee == "valkey" else ports.grpc(callee)
        self.proxy = KafkaProxy(port) if is_kafka else Proxy(port)
        await self.proxy.start()
        here, there = f"127.0.0.1:{port}", f"127.0.0.1:{self.proxy.port}"
        self._replace(caller, lambda settings: {name: value.replace(here, there) for name, value in settings.items()})

    def twin(self, name: str) -> None:
        """A second process of a service, on ports of its own."""
        ports = [str(port) for port in _free_ports(2)]

        def change(settings: Settings) -> Settings:
            own = {"GRPC_PORT": ports[0], "ADMIN_PORT": ports[1], "INSTANCE": f"{name}-2", "GROUP_INSTANCE_ID": ""}
            return {
                each: next((own[end] for end in own if each.endswith(f"_{end}")), settings[each]) for each in settings
            }

        self.twins[name] = twin = StandIn(self._house, f"{name}-2", self._own_pid(self._house, name), change)
        twin.start()
        twin.wait_ready()

    def may_be_wrong(self, name: str) -> None:
        """A process whose answers can be spoilt."""

        def change(settings: Settings) -> Settings:
            prefix = next(each for each in settings if each.endswith("_ADMIN_PORT")).removesuffix("ADMIN_PORT")
            return {**settings, f"{prefix}FAULTS_ENABLED": "1"}

        self._replace(name, change)
        self._faults = Path(self._replaced[name].settings[f"{self._replaced[name].prefix}STATE_DIR"]) / FILE

    def spoil(self, kind: str, share: float) -> None:
        """From now on; "" = no longer."""
        assert self._faults is not None, "the scenario names no service that may be wrong"
        if not kind:
            self._faults.unlink(missing_ok=True)
            return
        half = self._faults.with_suffix(".half")
        half.write_text(json.dumps({"kind": kind, "share": share}))
        half.replace(self._faults)

    def addresses(self) -> Mapping[str, Sequence[str]]:
        """Of the twins, by service."""
        return {name: (twin.address,) for name, twin in self.twins.items()}

    async def clear(self) -> None:
        """End everything that was put here, and start what it stood in for."""
        for name, one in self._replaced.items():
            one.stop()
            self._house.start(name)
        for twin in self.twins.values():
            twin.stop()
        if self._faults is not None:
            self._faults.unlink(missing_ok=True)
        if self.proxy is not None:
            await self.proxy.stop()
        for name in self._replaced:
            self._house.wait_ready(name, READY_WITHIN_S)

    def _replace(self, name: str, change: Change) -> None:
        one = StandIn(self._house, name, self._own_pid(self._house, name), change)
        self._house.stop(name)
        self._replaced[name] = one
        one.start()


def _free_ports(num: int) -> list[int]:
    """Ports that nobody had a moment ago."""
    sockets = [socket.socket() for _ in range(num)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
