"""`Rank` of 500 candidates for histories of 256 events over gRPC at 20 requests per second, root and leaf apart.

Two processes as they are wired; histories and pins are made up inside the root, so that ranking alone is measured.
Phases: every request of another user (each history is read anew), then of fifty users (their contexts are kept).
"""

import asyncio
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psutil
from grpc import aio

from bench.load import at_rate, gate, quantiles
from protos.ranker.v1 import ranker_pb2 as pb
from protos.ranker.v1.ranker_pb2_grpc import RankingServiceStub

WIDTH, NUM_CANDIDATES, NUM_PINS, NUM_REGULARS = 128, 500, 20_000, 50
RATE_PER_S, PHASE_S, WARM_S = 20.0, 20.0, 5.0
CONTEXT_BYTES = 64 << 20


def measure() -> dict[str, Any]:
    """Latency of both phases, and CPU time of both processes."""
    with (
        tempfile.TemporaryDirectory() as folder,
        _process(folder, "leaf", str(WIDTH), str(CONTEXT_BYTES)) as leaf,
        _process(folder, "root", leaf.address) as root,
    ):
        return asyncio.run(_measured(root, leaf))


async def _measured(root: "_Process", leaf: "_Process") -> dict[str, Any]:
    async with aio.insecure_channel(root.address) as channel:
        load = _Load(channel)
        await at_rate(load.of_anybody, RATE_PER_S, WARM_S)
        before_s = root.cpu_s(), leaf.cpu_s()
        fresh = await at_rate(load.of_anybody, RATE_PER_S, PHASE_S)
        spent_s = root.cpu_s() - before_s[0], leaf.cpu_s() - before_s[1]
        await at_rate(load.of_regulars, RATE_PER_S, WARM_S)
        kept = await at_rate(load.of_regulars, RATE_PER_S, PHASE_S)
    errors = [*fresh.errors, *kept.errors]
    return {
        "num_candidates": NUM_CANDIDATES,
        "num_events": 256,
        "inner_width": WIDTH,
        "rank_ms": quantiles(fresh.latencies_ms),
        "rank_ms_with_kept_contexts": quantiles(kept.latencies_ms),
        "cpu_ms_per_request": {
            name: round(1_000 * seconds / (RATE_PER_S * PHASE_S), 2)
            for name, seconds in zip(("root", "leaf"), spent_s, strict=True)
        },
        "errors": errors[:3],
        "gates": [
            gate("Rank p99, ms, every history read anew", fresh.quantile_ms(0.99), 60.0),
            gate("Rank p99, ms, contexts kept", kept.quantile_ms(0.99), 60.0),
            gate("errors", len(errors), 0),
        ],
    }


class _Load:
    def __init__(self, channel: aio.Channel) -> None:
        self._stub: Any = RankingServiceStub(channel)
        self._next_user = NUM_REGULARS

    async def of_anybody(self, number: int) -> None:
        """Of a user who never came before."""
        self._next_user += 1
        await self._rank(number, self._next_user)

    async def of_regulars(self, number: int) -> None:
        """Of one of fifty users."""
        await self._rank(number, number % NUM_REGULARS)

    async def _rank(self, number: int, user: int) -> None:
        request = pb.RankRequest(user_id=f"user-{user}", surface="home")
        for place in range(NUM_CANDIDATES):
            pin = (number * 389 + 17 * place) % NUM_PINS
            scores = {"popular": 1.0} if place % 2 else {"co_engaged": 0.5}
            request.candidates.add(pin_id=f"pin-{pin}", retrieval_rank=place, score_by_generator=scores)
        response = await self._stub.Rank(request, timeout=5)
        assert len(response.pins) == NUM_CANDIDATES
        assert not response.degradations, response.degradations


class _Process:
    def __init__(self, process: "subprocess.Popen[str]") -> None:
        assert process.stdout is not None
        while not (line := process.stdout.readline()).startswith('{"address"'):
            if not line:
                raise RuntimeError(f"the server ended with {process.wait()}")
        self.address = str(json.loads(line)["address"])
        self._usage = psutil.Process(process.pid)

    def cpu_s(self) -> float:
        """Of all threads since the start."""
        times = self._usage.cpu_times()
        return float(times.user + times.system)


@contextmanager
def _process(folder: str, *arguments: str) -> Iterator[_Process]:
    command = [sys.executable, "-m", "bench.rank_server", folder, *arguments]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield _Process(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(20.0)
        except subprocess.TimeoutExpired:
            process.kill()
