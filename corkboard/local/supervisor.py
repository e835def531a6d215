"""Starts servers and services in order, watches them, tells what happens to them, and stops them all."""

import os
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from chassis.errors import NotFound, Unavailable
from corkboard.local import certificates, probes
from corkboard.local.control import ControlServer
from corkboard.local.home import Home
from corkboard.local.options import Options
from corkboard.local.plan import SHADOW, Addresses, Plan, Planner, ServiceSpec
from corkboard.local.ports import Ports
from corkboard.local.process import STOP_GRACE_S, ManagedProcess, created_at_s, resident_bytes
from corkboard.local.run_file import RunFile, RunningProcess
from corkboard.local.servers import Server, Servers
from corkboard.local.shadow import Shadow

READY_WITHIN_S = 90.0  # torch takes up to 20 s to import on a busy 2-core machine
RESTART_PAUSE_S = 1.0
POLL_S = 0.2

Say = Callable[[str], None]


class Supervisor:
    """Owns every process of one local Corkboard. Restarts what crashes, and says so each time."""

    def __init__(self, home: Home, options: Options, say: Say, prepare: Callable[[str, int], None]) -> None:
        self._home = home
        self._options = options
        self._say = say
        self._prepare = prepare
        self._ports = Ports(options.port_base)
        self._servers = Servers(home, self._ports, options.zones, options.num_brokers, has_tls=options.tls)
        self._processes: dict[str, ManagedProcess] = {}
        self._specs: dict[str, ServiceSpec] = {}
        self._stopped_on_purpose: set[str] = set()
        self._lock = threading.RLock()
        self._down = threading.Event()
        self._addresses: Addresses | None = None
        self._ready = False
        self._control = ControlServer(home.control_socket, self.handle)

    def start(self) -> None:
        """Bring everything up, ready to serve.

        Raises: Unavailable naming the part that did not come up; whatever had started is stopped again.
        """
        self._home.create()
        self._refuse_taken_ports()
        try:
            self._control.start()
            self._write_run_file()
            addresses = self._addresses = self._start_servers()
            self._say("topics and definitions")
            self._prepare(addresses.kafka, self._options.num_brokers)
            self._start_services(self._plan(addresses))
            self._start_page()
            self._ready = True
        except BaseException:
            self.stop()
            raise

    def watch(self) -> None:
        """Return when `down` was asked; restart what ends by itself, loudly."""
        while not self._down.wait(POLL_S):
            with self._lock:
                for name, process in self._processes.items():
                    if not process.is_running() and name not in self._stopped_on_purpose:
                        self._restart(name, process)

    def ask_down(self) -> None:
        """Make `watch` return."""
        self._down.set()

    def stop(self) -> None:
        """Stop services, then servers; leave nothing running."""
        with self._lock:
            self._stopped_on_purpose |= set(self._processes)
            for process in self._processes.values():
                process.ask_to_stop()
            give_up_s = time.monotonic() + STOP_GRACE_S
            for process in self._processes.values():
                process.stop(max(0.1, give_up_s - time.monotonic()))
            self._servers.stop()
            self._control.stop()
            self._home.state_file.unlink(missing_ok=True)

    def handle(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """Answer one request of the command line."""
        verb, name = request["verb"], request.get("name", "")
        if verb == "status":
            return self._status()
        if verb == "down":
            self._down.set()
            return {"ok": True}
        if verb in ("shadow", "unshadow"):
            self._stop_shadow()
            return self._start_shadow(Shadow(name, request["definitions"])) if verb == "shadow" else {"ok": True}
        with self._lock:
            return self._change(verb, name)

    def _change(self, verb: str, name: str) -> Mapping[str, Any]:
        server = self._servers.by_name.get(name)
        process = self._processes.get(name)
        if server is None and process is None:
            known = ", ".join([*self._servers.by_name, *self._processes])
            raise NotFound(f"nothing here is called {name!r}; there are: {known}")
        if verb == "stop":
            self._stopped_on_purpose.add(name)
            (server or process).stop()  # type: ignore[union-attr]  # one of the two is there
        elif verb == "start":
            self._stopped_on_purpose.discard(name)
            self._start_again(server, process)
        else:
            raise NotFound(f"unknown verb {verb!r}")
        self._write_run_file()
        return {"ok": True}

    def _start_shadow(self, shadow: Shadow) -> Mapping[str, Any]:
        if self._addresses is None or not self._ready:
            raise Unavailable("Corkboard is still starting")
        with self._lock:  # returns at once: whoever asked looks at `status`
            for spec in self._planner(self._addresses).shadow(shadow):
                self._launch(spec)
            self._write_run_file()
        return {"names": list(SHADOW)}

    def _stop_shadow(self) -> None:
        with self._lock:
            for name in SHADOW:
                process = self._processes.pop(name, None)
                self._specs.pop(name, None)
                self._stopped_on_purpose.discard(name)
                if process is not None:
                    process.stop()
            self._write_run_file()

    def _start_again(self, server: Server | None, process: ManagedProcess | None) -> None:
        if server is not None and not server.is_running():
            server.start()
        if process is not None and not process.is_running():
            process.start()

    def _start_servers(self) -> Addresses:
        options = self._options
        (certificates.issue_all if options.tls else certificates.forget)(self._home.certificates)
        if not options.kafka:
            self._say(f"Kafka ({options.num_brokers} broker{'s' if options.num_brokers > 1 else ''})")
            self._servers.start_kafka()
        if not options.redis:
            self._say("Valkey")
            self._servers.start_valkey()
        if not options.otlp:
            self._say("trace receiver")
            self._servers.start_otlp()
        self._write_run_file()
        redis = {zone: options.redis or self._servers.redis_url(zone) for zone in options.zones}
        return Addresses(
            options.kafka or self._servers.bootstrap, redis, options.otlp or f"http://127.0.0.1:{self._ports.otlp}"
        )

    def _plan(self, addresses: Addresses) -> Plan:
        return self._planner(addresses).plan()

    def _planner(self, addresses: Addresses) -> Planner:
        options = self._options
        return Planner(self._home, self._ports, options.zones, addresses, self._page_key(), has_tls=options.tls)

    def _page_key(self) -> str:
        """The key that signs page tokens: made once, so that tokens outlive a restart."""
        path = self._home.data / "page-token.key"
        if not path.exists():
            path.write_text(secrets.token_hex(32))
            path.chmod(0o600)
        return path.read_text()

    def _start_services(self, plan: Plan) -> None:
        for spec in plan.services:
            self._launch(spec)
        self._write_run_file()
        waiting = dict(self._specs)
        give_up_s = time.monotonic() + READY_WITHIN_S
        while waiting:
            for name in [name for name, spec in waiting.items() if probes.is_ready(spec.admin_port)]:
                self._say(f"{name} is ready")
                del waiting[name]
            self._check_progress(waiting, give_up_s)
            if waiting:
                time.sleep(POLL_S)

    def _start_page(self) -> None:
        if self._options.page:
            self._say(f"the page is at {self._servers.start_page()}")
            self._write_run_file()

    def _launch(self, spec: ServiceSpec) -> None:
        process = ManagedProcess(spec.name, spec.argv, spec.environment, self._home.logs / f"{spec.name}.log")
        process.start()
        with self._lock:
            self._processes[spec.name], self._specs[spec.name] = process, spec

    def _check_progress(self, waiting: Mapping[str, ServiceSpec], give_up_s: float) -> None:
        for name in waiting:
            process = self._processes[name]
            if not process.is_running() and name not in self._stopped_on_purpose:
                raise Unavailable(f"{name} ended with code {process.exit_code} while starting:\n{process.log_tail()}")
        if waiting and time.monotonic() > give_up_s:
            name, spec = next(iter(waiting.items()))
            why = probes.why_not_ready(spec.admin_port)
            tail = self._processes[name].log_tail()
            raise Unavailable(f"{name} was not ready after {READY_WITHIN_S:.0f} s ({why}); its log:\n{tail}")
        if self._down.is_set():
            raise Unavailable("stopped while starting")

    def _restart(self, name: str, process: ManagedProcess) -> None:
        self._say(f"{name} ended with code {process.exit_code}; starting it again (log: {process.log_path})")
        if process.num_starts > 1:
            time.sleep(RESTART_PAUSE_S)
        process.start()
        self._write_run_file()

    def _refuse_taken_ports(self) -> None:
        taken = probes.taken_ports(self._wanted_ports())
        if taken:
            listing = "; ".join(f"{port} ({what}) is held by {holder}" for port, what, holder in taken)
            raise Unavailable(
                f"ports are taken: {listing}. Stop that process, or choose other ports: corkboard up --port-base 17100"
            )

    def _wanted_ports(self) -> list[tuple[int, str]]:
        plan = self._plan(Addresses("", dict.fromkeys(self._options.zones, ""), ""))
        wanted = [(spec.grpc_port, spec.name) for spec in plan.services]
        wanted += [(spec.admin_port, f"{spec.name} admin") for spec in plan.services]
        given = self._options
        return wanted + self._servers.wanted_ports(
            kafka=not given.kafka, valkey=not given.redis, otlp=not given.otlp, page=given.page
        )

    def _running(self) -> list[RunningProcess]:
        pids = {name: server.pid for name, server in self._servers.by_name.items()}
        pids |= {name: process.pid for name, process in self._processes.items()}
        return [RunningProcess(name, pid, created_at_s(pid)) for name, pid in pids.items() if pid]

    def _write_run_file(self) -> None:
        own = RunningProcess("supervisor", os.getpid(), created_at_s(os.getpid()))
        options = self._options
        RunFile(own, options.port_base, options.zones, options.num_brokers, tuple(self._running())).write(
            self._home.state_file
        )

    def _status(self) -> Mapping[str, Any]:
        rows = [self._server_row(name, server) for name, server in self._servers.by_name.items()]
        rows += [self._service_row(name, process) for name, process in list(self._processes.items())]
        rows.append(_row("supervisor", "running", os.getpid(), "", 0))
        return {
            "is_ready": self._ready,
            "processes": rows,
            "zones": list(self._options.zones),
            "port_base": self._options.port_base,
        }

    def _server_row(self, name: str, server: Server) -> dict[str, Any]:
        return _row(name, "running" if server.is_running() else "stopped", server.pid, server.address, 0)

    def _service_row(self, name: str, process: ManagedProcess) -> dict[str, Any]:
        spec = self._specs[name]
        if process.is_running():
            state = (
                "ready" if probes.is_ready(spec.admin_port) else f"not ready: {probes.why_not_ready(spec.admin_port)}"
            )
        else:
            state = "stopped" if name in self._stopped_on_purpose else f"ended with code {process.exit_code}"
        return _row(name, state, process.pid, f"127.0.0.1:{spec.grpc_port}", process.num_starts - 1)


def _row(name: str, state: str, pid: int | None, address: str, num_restarts: int) -> dict[str, Any]:
    return {
        "name": name,
        "state": state,
        "pid": pid,
        "address": address,
        "restarts": num_restarts,
        "resident_mb": round(resident_bytes(pid) / 1e6) if pid else 0,
    }
