"""The real servers that a local Corkboard stands on: Kafka brokers, one Valkey per zone, the trace receiver."""

import os
import sys
import time
from collections.abc import Sequence
from typing import Protocol

from chassis.errors import Unavailable
from corkboard.local import probes
from corkboard.local.home import Home
from corkboard.local.kafka_server import KafkaCluster
from corkboard.local.ports import Ports
from corkboard.local.process import ManagedProcess
from corkboard.local.valkey_server import ValkeyServer

OWN_READY_WITHIN_S = 15.0


class Server(Protocol):
    """A server that a supervisor can start and stop again."""

    @property
    def address(self) -> str: ...
    @property
    def pid(self) -> int | None: ...
    def is_running(self) -> bool: ...
    def start(self) -> None: ...
    def stop(self) -> None: ...


class OwnServer:
    """A module of ours as a server: the trace receiver, the page."""

    def __init__(self, home: Home, name: str, module: str, port: int, arguments: Sequence[str]) -> None:
        self.address = f"127.0.0.1:{port}"
        self._name, self._port = name, port
        argv = [sys.executable, "-m", module, "--port", str(port), "--database", str(home.traces), *arguments]
        self._process = ManagedProcess(name, argv, dict(os.environ), home.logs / f"{name}.log")

    @property
    def pid(self) -> int | None:
        return self._process.pid

    def is_running(self) -> bool:
        return self._process.is_running()

    def start(self) -> None:
        self._process.start()
        give_up_s = time.monotonic() + OWN_READY_WITHIN_S
        while not probes.taken_ports([(self._port, self._name)]):
            if time.monotonic() > give_up_s or not self._process.is_running():
                raise Unavailable(f"{self._name} did not start:\n{self._process.log_tail()}")
            time.sleep(0.05)

    def stop(self) -> None:
        self._process.stop()


class Servers:
    """All servers by name: `kafka-1`.. , `valkey-<zone>`, `traces`, `page`."""

    def __init__(
        self, home: Home, ports: Ports, zones: Sequence[str], num_brokers: int, *, has_tls: bool = False
    ) -> None:
        self._ports = ports
        self._num_brokers = num_brokers
        self._zones = tuple(zones)
        kafka_ports = [(ports.kafka(index), ports.kafka_controller(index)) for index in range(num_brokers)]
        self._kafka = KafkaCluster(home.data, kafka_ports, self._zones)
        self._valkeys = {
            zone: ValkeyServer(home.data / f"valkey-{zone}", ports.valkey(index)) for index, zone in enumerate(zones)
        }
        self._traces = OwnServer(home, "traces", "corkboard.traces", ports.otlp, [])
        page_arguments = ["--port-base", str(ports.base)]
        page_arguments += ["--certificates", str(home.certificates)] if has_tls else []
        self._page = OwnServer(home, "page", "corkboard.page", ports.page, page_arguments)
        self.by_name: dict[str, Server] = {}

    @property
    def bootstrap(self) -> str:
        return self._kafka.bootstrap

    def redis_url(self, zone: str) -> str:
        return f"redis://{self._valkeys[zone].address}/0"

    def start_kafka(self) -> None:
        """Start every broker; named before they start, so that `stop` finds what a failed start left."""
        self.by_name |= {f"kafka-{index + 1}": broker for index, broker in enumerate(self._kafka.servers)}
        self._kafka.start()

    def start_valkey(self) -> None:
        for zone, server in self._valkeys.items():
            self._start(f"valkey-{zone}" if len(self._zones) > 1 else "valkey", server)

    def start_otlp(self) -> None:
        self._start("traces", self._traces)

    def start_page(self) -> str:
        """Where to look; the services should be ready."""
        self._start("page", self._page)
        return f"http://{self._page.address}"

    def stop(self) -> None:
        """Stop what was started, last one first."""
        for server in reversed(list(self.by_name.values())):
            server.stop()
        self.by_name.clear()

    def wanted_ports(self, *, kafka: bool, valkey: bool, otlp: bool, page: bool) -> list[tuple[int, str]]:
        """(port, what for) of each server that will be started here."""
        wanted: list[tuple[int, str]] = []
        if kafka:
            wanted += [(self._ports.kafka(index), f"kafka-{index + 1}") for index in range(self._num_brokers)]
        if valkey:
            wanted += [(self._ports.valkey(index), f"valkey-{zone}") for index, zone in enumerate(self._zones)]
        own = [(self._ports.otlp, "traces", otlp), (self._ports.page, "page", page)]
        return wanted + [(port, name) for port, name, is_wanted in own if is_wanted]

    def _start(self, name: str, server: Server) -> None:
        server.start()
        self.by_name[name] = server
