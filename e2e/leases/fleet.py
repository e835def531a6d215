"""Starts the processes, the links between them and the faults, and gathers what was counted."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import grpc
from grpc import aio

from chassis.testing.ports import free_port
from e2e.chaos.proxy import Proxy
from e2e.leases.enforcer import Job
from e2e.leases.schedule import QUOTAS, TOTAL_S, Fault, World
from e2e.leases.skewed_clock import VARIABLE
from e2e.leases.tally import up_mark
from protos.quota.v1 import quota_pb2 as pb
from protos.quota.v1 import quota_pb2_grpc as rpc

KEY = "surface/blender/GetFeed/shared"
LIMIT, BURST = 300.0, 20.0
LEASE_S, LEADER_S = 3.0, 2.0
UP_WITHIN_S = 90.0


@dataclass
class Running:
    """One process and what is needed to start it again."""

    command: list[str]
    environment: dict[str, str]
    process: "subprocess.Popen[bytes]"
    starts_s: list[float] = field(default_factory=list)  # after the common start

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)


class Fleet:
    """Everything of one run in `folder`; a rule of `LIMIT` per second is published before the enforcers start."""

    def __init__(self, folder: Path, world: World, seed: int, ledger_url: str = "") -> None:
        """The ledger is the PostgreSQL at `ledger_url`, or a SQLite file."""
        self.folder, self.world, self.seed, self.ledger_url = folder, world, seed, ledger_url
        self.running: dict[str, Running] = {}
        self.links: dict[tuple[str, str], Proxy] = {}
        self.ports = dict.fromkeys(QUOTAS, 0)
        self.begin_s = 0.0
        self.leaders_hit: list[str] = []

    async def run(self) -> None:
        """From nothing to the end of the last bin; every process is ended in any case."""
        try:
            for name in QUOTAS:
                self._start_quota(name)
            await self._publish()
            await self._start_enforcers()
            async with asyncio.TaskGroup() as tasks:
                for fault in self.world.faults:
                    tasks.create_task(self._fault(fault))
                tasks.create_task(asyncio.sleep(self.begin_s + TOTAL_S - time.monotonic()))
        finally:
            self._end()
            for link in self.links.values():
                await link.stop()

    def tally_of(self, name: str) -> Path:
        """Where a process counts, over all its lives."""
        return self.folder / f"{name}.tally"

    def starts_s(self) -> list[float]:
        """When enforcers began a life, of all but their first."""
        lives = [one.starts_s[1:] for name, one in self.running.items() if name not in QUOTAS]
        return sorted(second for life in lives for second in life)

    def _start_quota(self, name: str) -> None:
        self.ports[name] = self.ports[name] or free_port()
        settings = {
            "GRPC_PORT": str(self.ports[name]),
            "ADMIN_PORT": "0",
            "INSTANCE": name,
            "KAFKA_BOOTSTRAP": f"127.0.0.1:{free_port()}",  # there is none: leases need no topic
            "STATE_DIR": str(self.folder / name),
            "LEDGER_PATH": str(self.folder / "quota.sqlite"),
            "LEDGER_URL": self.ledger_url,
            "LEASE_DURATION_S": str(LEASE_S),
            "LEADER_DURATION_S": str(LEADER_S),
            "LOG_LEVEL": "info",
        }
        environment = os.environ | {f"QUOTA_{key}": value for key, value in settings.items()}
        self._start(name, [sys.executable, "-m", "e2e.leases.quota_process"], environment)

    async def _start_enforcers(self) -> None:
        for name in self.world.demands:
            for quota in QUOTAS:
                self.links[name, quota] = Proxy(self.ports[quota], self.seed)
                await self.links[name, quota].start()
        self.begin_s = time.monotonic() + 25.0  # processes start slowly on a busy machine; nobody asks before
        for name in self.world.demands:
            job = Job(
                client_id=name,
                target=",".join(f"127.0.0.1:{self.links[name, quota].port}@{quota}" for quota in QUOTAS),
                key=KEY,
                limit=LIMIT,
                burst=BURST,
                safe_share=1 / len(self.world.demands),
                demand_per_s=self.world.demands[name],
                tally=str(self.tally_of(name)),
                begin_s=self.begin_s,
                total_s=TOTAL_S,
            )
            self._start(name, [sys.executable, "-m", "e2e.leases.enforcer", json.dumps(asdict(job))], dict(os.environ))
        await self._wait_until(lambda: all(up_mark(self.tally_of(name)).exists() for name in self.world.demands))
        await asyncio.sleep(max(0.0, self.begin_s - time.monotonic()))

    def _start(self, name: str, command: list[str], environment: dict[str, str]) -> None:
        environment = environment | {VARIABLE: str(self.world.skews_s[name]), "OMP_NUM_THREADS": "1"}
        log = (self.folder / f"{name}.log").open("ab")
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        log.close()
        before = self.running.get(name)
        starts_s = [*(before.starts_s if before else []), time.monotonic() - self.begin_s]
        self.running[name] = Running(command, environment, process, starts_s)

    async def _fault(self, fault: Fault) -> None:
        await asyncio.sleep(max(0.0, self.begin_s + fault.begin_s - time.monotonic()))
        target = self._leader() if fault.target == "leader" else fault.target
        if fault.target == "leader":
            self.leaders_hit.append(target)
        if fault.kind == "kill":
            self.running[target].signal(signal.SIGKILL)
            self.running[target].process.wait()
        elif fault.kind == "pause":
            self.running[target].signal(signal.SIGSTOP)
        else:
            self._set_links(target, fault)
        await asyncio.sleep(max(0.0, self.begin_s + fault.end_s - time.monotonic()))
        if fault.kind == "kill":
            one = self.running[target]
            self._start(target, one.command, one.environment)
        elif fault.kind == "pause":
            self.running[target].signal(signal.SIGCONT)
        else:
            self._set_links(target, None)

    def _set_links(self, name: str, fault: Fault | None) -> None:
        quotas = QUOTAS[:1] if fault and fault.kind == "cut_one" else QUOTAS
        for quota in quotas:
            link = self.links[name, quota]
            link.set({"cut_one": "cut"}.get(fault.kind, fault.kind) if fault else "")
            if fault is None:
                link.reset()  # what was lost on the way is lost: the connection is of no use any more

    def _leader(self) -> str:
        """Who said last that it leads, in the logs of both."""
        return max(QUOTAS, key=lambda name: max(self.epochs_of(name), default=0))

    def epochs_of(self, name: str) -> list[int]:
        """In which epochs a quota service led."""
        text = (self.folder / f"{name}.log").read_text(errors="replace")
        lines = [line for line in text.splitlines() if re.search(r'"event": ?"leading"', line)]
        return [int(json.loads(line)["epoch"]) for line in lines]

    async def _publish(self) -> None:
        """Through the real steps. Without a topic publishing says that it is sent later; leases read the ledger."""
        target = f"127.0.0.1:{self.ports[QUOTAS[0]]}"
        async with aio.insecure_channel(target) as channel:
            await asyncio.wait_for(channel.channel_ready(), UP_WITHIN_S)
            stub: Any = rpc.QuotaServiceStub(channel)
            rule = pb.Rule(key=KEY, limit=LIMIT, period_s=1.0, burst=BURST, unit="requests", owner="ann", tier=3)
            rule.safe_share, rule.is_global = 1 / len(self.world.demands), True
            await stub.CreateRule(pb.CreateRuleRequest(rule=rule, actor="ann"))
            ref = pb.RuleRef(key=KEY, actor="ann")
            await stub.ValidateRule(ref)
            await stub.ApproveRule(pb.ApproveRuleRequest(ref=ref))
            try:
                await stub.PublishRule(ref)
            except aio.AioRpcError as error:
                assert error.code() is grpc.StatusCode.UNAVAILABLE, error
            found = await stub.ListRules(pb.ListRulesRequest(is_published_only=True))
            assert [version.rule.key for version in found.rule_versions] == [KEY]

    async def _wait_until(self, check: Any) -> None:
        give_up_s = time.monotonic() + UP_WITHIN_S
        while not check():
            assert time.monotonic() < give_up_s, "the processes did not come up"
            await asyncio.sleep(0.2)

    def _end(self) -> None:
        for one in self.running.values():
            if one.process.poll() is None:
                one.signal(signal.SIGCONT)
                one.signal(signal.SIGKILL)
                one.process.wait()
