"""One process that decides: the real protection and the real lease client, asked at a steady rate.

`python -m e2e.leases.enforcer '{"client_id": …}'`; it counts into a tally until it is ended.
"""

import asyncio
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from chassis import logs
from chassis.errors import OverQuota
from chassis.grpc.client import ChannelPool
from chassis.lifecycle import Tasks
from chassis.protection import LeaseKeeper, Protection, Rule
from e2e.leases.skewed_clock import clock_of_environment
from e2e.leases.tally import Tally
from protos.leases import GrpcLeaseSource

STEP_S = 0.01
BRIDGED_S = 0.2  # a stall that the least burst of 2 units bridges at an equal share of 10 units per second


@dataclass(frozen=True)
class Job:
    """`target` is both quota services, each through this process's own link; `tally` where counts go."""

    client_id: str
    target: str
    key: str
    limit: float
    burst: float
    safe_share: float
    demand_per_s: float
    tally: str
    begin_s: float
    total_s: float


async def enforce(job: Job) -> None:
    """Until the time is over."""
    clock = clock_of_environment()
    protection = Protection(clock=clock)
    rule = Rule(job.key, job.limit, burst=job.burst, safe_share=job.safe_share, is_global=True)
    assert protection.set_rules([rule])
    pools = [ChannelPool(address, clock=clock) for address in job.target.split(",")]  # as every shell has them
    keeper = LeaseKeeper(protection, GrpcLeaseSource(pools, job.client_id), clock=clock)
    tally = Tally(Path(job.tally), job.begin_s, job.total_s)
    tally.say_up()
    tasks = Tasks()
    async with tasks:
        keeping = tasks.create_task(keeper.start(tasks))
        await _ask_steadily(protection, job, tally)
        keeping.cancel()
        await tasks.end()


async def _ask_steadily(protection: Protection, job: Job, tally: Tally) -> None:
    await asyncio.sleep(max(0.0, job.begin_s - time.monotonic()))
    gap_s, next_s = 1.0 / job.demand_per_s, time.monotonic()
    while (now_s := time.monotonic()) < job.begin_s + job.total_s:
        stalled_s = now_s - next_s - BRIDGED_S
        if stalled_s > 0:
            tally.add(0, 0, int(1000 * stalled_s))
        next_s = max(next_s, now_s - STEP_S)  # who was paused does not ask for what it missed
        while next_s <= now_s:
            is_admitted = _is_admitted(protection, job.key)
            tally.add(int(is_admitted), int(not is_admitted))
            next_s += gap_s
        await asyncio.sleep(min(STEP_S, next_s - now_s))


def _is_admitted(protection: Protection, key: str) -> bool:
    try:
        protection.admit(key)
    except OverQuota:
        return False
    return True


if __name__ == "__main__":
    logs.configure("error", "enforcer", "")
    asyncio.run(enforce(Job(**json.loads(sys.argv[1]))))
