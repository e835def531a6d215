"""Ingest to readable: events at a constant rate, a sample of them watched until their sequence holds them."""

import asyncio
import time
from typing import Any

from bench.load import Outcome, at_rate, gate, quantiles
from corkboard.session import Session
from e2e.house import House
from e2e.surface import event, publish, sequence

EVENTS_PER_S = 1_000
EVENTS_PER_CALL = 20
WARM_UP_S = 5.0
DURATION_S = 30.0
NUM_USERS = 500
PROBES_PER_S = 2.0
POLL_S = 0.05  # counts against us; finer polling loads the machine that it measures
PROBE_GIVES_UP_S = 10.0
P50_GOAL_MS = 300.0
P99_GOAL_MS = 2_000.0


def measure(house: House) -> dict[str, Any]:
    """The probe is one event of its own user; it is polled every 50 ms from the acknowledgement on."""
    readable_ms: list[float] = []

    async def work(session: Session) -> Outcome:
        async def send(number: int) -> None:
            users = [f"load-{(number * EVENTS_PER_CALL + one) % NUM_USERS:04d}" for one in range(EVENTS_PER_CALL)]
            await publish(session, [event(user, "click", f"pin-{number % 500:06d}") for user in users])

        async def probe(number: int) -> None:
            readable_ms.append(await _until_readable(session, f"probe-{number:06d}-{time.time_ns()}"))

        rate_per_s = EVENTS_PER_S / EVENTS_PER_CALL
        await at_rate(send, rate_per_s, WARM_UP_S)
        async with asyncio.TaskGroup() as tasks:
            load = tasks.create_task(at_rate(send, rate_per_s, DURATION_S))
            tasks.create_task(at_rate(probe, PROBES_PER_S, DURATION_S))
        return load.result()

    outcome = house.run(work)
    found = quantiles(readable_ms)
    return {
        "rows": [
            {"name": "publish to readable", "events_per_s": EVENTS_PER_S, "latency_ms": found},
            {"name": "PublishEvents", "latency_ms": quantiles(outcome.latencies_ms), "num_errors": len(outcome.errors)},
        ],
        "gates": [
            gate("publish to readable p50 ms at 1,000 events/s", found["p50"], P50_GOAL_MS),
            gate("publish to readable p99 ms at 1,000 events/s", found["p99"], P99_GOAL_MS),
            gate("PublishEvents errors", len(outcome.errors), 0),
        ],
    }


async def _until_readable(session: Session, user: str) -> float:
    start_s = time.perf_counter()
    await publish(session, [event(user, "click", "pin-000001")])
    while time.perf_counter() - start_s < PROBE_GIVES_UP_S:
        if await sequence(session, user, max_events=1):
            break
        await asyncio.sleep(POLL_S)
    return (time.perf_counter() - start_s) * 1000
