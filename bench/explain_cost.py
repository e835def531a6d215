"""What keeping feeds for ExplainFeed costs: a second blender that keeps none beside the first, asked by turns."""

import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import psutil

from bench.load import Outcome, at_rate
from bench.people import person
from chassis.grpc.status import from_rpc_error
from chassis.testing.ports import free_ports
from corkboard.session import Session
from e2e.house import House
from e2e.surface import feed_request
from protos.blender.v1 import blender_pb2_grpc

ROUNDS = 8
ROUND_S = 8.0
READY_S = 60.0


def explain_share(house: House, rate_per_s: float) -> dict[str, Any]:
    """Median over interleaved rounds, in ms of CPU per feed; `share` is of all processes' CPU."""
    found: dict[str, list[dict[str, float]]] = {"kept": [], "not_kept": []}
    first = psutil.Process(house.pid("blender"))
    with _second_blender(first) as (second, address):
        kept_at = f"127.0.0.1:{first.environ()['BLENDER_GRPC_PORT']}"
        for number in range(2 * (ROUNDS + 1)):
            name, blender, at = (("kept", first, kept_at), ("not_kept", second, address))[number % 2]
            spent = _round(house, blender, at, rate_per_s)
            if number >= 2:  # the first round of each fills its caches
                found[name].append(spent)
    median = {
        name: {part: round(statistics.median(each[part] for each in rounds), 3) for part in rounds[0]}
        for name, rounds in found.items()
    }
    costs = [
        (kept["blender"] + kept["valkey"]) - (other["blender"] + other["valkey"])
        for kept, other in zip(found["kept"], found["not_kept"], strict=True)
    ]
    cost_ms = statistics.median(costs)
    return {
        "cpu_ms_per_feed": median,
        "cost_ms": round(cost_ms, 3),
        "share": round(max(0.0, cost_ms) / median["kept"]["all"], 4),
        "share_of_blender": round(max(0.0, cost_ms) / median["kept"]["blender"], 4),
        "rounds": ROUNDS,
    }


def _round(house: House, blender: psutil.Process, address: str, rate_per_s: float) -> dict[str, float]:
    async def work(_: Session) -> Outcome:
        async with grpc.aio.insecure_channel(address) as channel:
            stub = blender_pb2_grpc.FeedServiceStub(channel)

            async def ask(number: int) -> None:
                try:
                    await stub.GetFeed(feed_request(person(number), page_size=20), timeout=2.0)
                except grpc.aio.AioRpcError as error:
                    raise from_rpc_error(error) from error

            return await at_rate(ask, rate_per_s, ROUND_S)

    before, own_before = house.cpu_s(), _cpu_s(blender)
    num = len(house.run(work).latencies_ms) / 1e3
    after, own_after = house.cpu_s(), _cpu_s(blender)
    others = sum(after[name] - before[name] for name in after if name != "blender")
    own = own_after - own_before
    return {"blender": own / num, "valkey": (after["valkey"] - before["valkey"]) / num, "all": (others + own) / num}


@contextmanager
def _second_blender(first: psutil.Process) -> Iterator[tuple[psutil.Process, str]]:
    """As the first one, on ports of its own."""
    grpc_port, admin_port = free_ports(2)
    with tempfile.TemporaryDirectory() as state:
        own = {
            "BLENDER_GRPC_PORT": str(grpc_port),
            "BLENDER_ADMIN_PORT": str(admin_port),
            "BLENDER_INSTANCE": "blender-without-explanations",
            "BLENDER_GROUP_INSTANCE_ID": "",
            "BLENDER_STATE_DIR": state,
            "BLENDER_EXPLAIN_ENABLED": "false",
        }
        log = Path(state, "log")
        with log.open("wb") as sink:
            process = subprocess.Popen(
                first.cmdline(), env=first.environ() | own, stdout=sink, stderr=sink, cwd=os.getcwd()
            )
        try:
            _wait_ready(admin_port, log)
            yield psutil.Process(process.pid), f"127.0.0.1:{grpc_port}"
        finally:
            process.terminate()
            process.wait(timeout=30)


def _wait_ready(admin_port: int, log: Path) -> None:
    import urllib.request

    give_up_s = time.monotonic() + READY_S
    while time.monotonic() < give_up_s:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{admin_port}/readyz", timeout=2):
                return
        except OSError:
            time.sleep(0.2)
    raise AssertionError(f"the second blender is not ready after {READY_S:.0f} s: {log.read_text()[-2000:]}")


def _cpu_s(process: psutil.Process) -> float:
    return float(sum(process.cpu_times()[:2]))
