"""`Retrieve` of 300 candidates over gRPC at 20 requests per second with 100 k pins and all generators, open loop.

The service runs in a process of its own, as it is wired; pins lie on an in-memory bus and histories are made up, so
that what is measured is candidate generation only. Phases: quiet; then while 50 pins a second are published.
"""

import asyncio
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from grpc import aio

from bench.load import at_rate, gate, quantiles
from protos.cg.v1 import cg_pb2 as pb
from protos.cg.v1.cg_pb2_grpc import RetrievalServiceStub

NUM_PINS, NUM_CANDIDATES, NUM_USERS = 100_000, 300, 1_000
RATE_PER_S, PHASE_S, WARM_S = 20.0, 20.0, 5.0
PUBLISHED = 900  # nearly all of the phase
GENERATORS = ("popular", "fresh", "related", "co_engaged", "two_tower", "contextual")


def measure() -> dict[str, Any]:
    """Latency, CPU time and memory of the process."""
    with tempfile.TemporaryDirectory() as folder, _server(Path(folder)) as server:
        return asyncio.run(_measured(server))


async def _measured(server: "_Server") -> dict[str, Any]:
    async with aio.insecure_channel(server.address) as channel:
        load = _Load(channel)
        await at_rate(load.retrieve, RATE_PER_S, WARM_S)
        load.durations_ms = {name: [] for name in GENERATORS}
        cpu_s = server.cpu_s()
        quiet = await at_rate(load.retrieve, RATE_PER_S, PHASE_S)
        cpu_ms = 1_000 * (server.cpu_s() - cpu_s) / (RATE_PER_S * PHASE_S)
        generators: dict[str, dict[str, float]] = {name: quantiles(times) for name, times in load.durations_ms.items()}
        publishing = asyncio.create_task(asyncio.to_thread(server.ask, f"publish {PUBLISHED}"))
        busy = await at_rate(load.retrieve, RATE_PER_S, PHASE_S)
        await publishing
    errors = [*quiet.errors, *busy.errors]
    gates = [
        gate("Retrieve p99, ms, quiet", quiet.quantile_ms(0.99), 30.0),
        gate("Retrieve p99, ms, while pins are published", busy.quantile_ms(0.99), 30.0),
        gate("errors", len(errors), 0),
    ]
    return {
        "num_pins": NUM_PINS,
        "num_candidates": NUM_CANDIDATES,
        "retrieve_ms": quantiles(quiet.latencies_ms),
        "retrieve_ms_while_publishing": quantiles(busy.latencies_ms),
        "generator_ms": generators,
        "cpu_ms_per_request": round(cpu_ms, 2),
        "resident_mb": server.resident_mb(),
        "errors": errors[:3],
        "gates": gates,
    }


class _Load:
    def __init__(self, channel: aio.Channel) -> None:
        self._stub: Any = RetrievalServiceStub(channel)
        self._random = np.random.default_rng(5)
        self.durations_ms: dict[str, list[float]] = {name: [] for name in GENERATORS}

    async def retrieve(self, number: int) -> None:
        """One request; every generator must answer."""
        request = pb.RetrieveRequest(
            user_id=f"user-{number % NUM_USERS}",
            surface="home",
            subject_pin_id=f"pin-{number * 11 % NUM_PINS}",
            locale=("en-US", "de-DE", "")[number % 3],
            num_candidates=NUM_CANDIDATES,
            exclude_pin_ids=[f"pin-{row}" for row in self._random.integers(0, NUM_PINS, 100)],
            generators=GENERATORS,
        )
        response = await self._stub.Retrieve(request, timeout=5)
        assert len(response.candidates) == NUM_CANDIDATES, response.degradations
        assert not response.degradations, response.degradations
        for report in response.generators:
            self.durations_ms[report.generator].append(report.duration_ms)


class _Server:
    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self._usage = psutil.Process(process.pid)
        self.address = str(self._read()["address"])

    def ask(self, line: str) -> dict[str, Any]:
        """Say something, wait for the answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return self._read()

    def cpu_s(self) -> float:
        """Of all threads since the start."""
        times = self._usage.cpu_times()
        return float(times.user + times.system)

    def resident_mb(self) -> float:
        """Of the whole process."""
        return round(float(self._usage.memory_info().rss) / 1e6, 1)

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        while not (line := self._process.stdout.readline()).startswith("{"):
            if not line:
                raise RuntimeError(f"the server ended with {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextmanager
def _server(folder: Path) -> Iterator[_Server]:
    command = [sys.executable, "-m", "bench.retrieve_server", str(folder), str(NUM_PINS)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield _Server(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(20.0)
        except subprocess.TimeoutExpired:
            process.kill()
