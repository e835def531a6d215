"""Ingest to readable: events at a constant rate, a sample of them watched until their sequence holds them."""

import asyncio
import time
from typing import Any

from bench.load import Outcome, at_rate, gate, quantiles
from corkboard.session import Session
from e2e.house import House
from e2e.surface import event, publish, sequence

EVENTS_PER_S = (1_000, 2_000)
EVENTS_PER_CALL = 20
WARM_UP_S = 5.0
DURATION_S = 60.0
NUM_USERS = 500
PROBES_PER_S = 2.0
POLL_S = 0.05  # counts against us; finer polling loads the machine that it measures
PROBE_GIVES_UP_S = 10.0
P50_GOAL_MS = 300.0
P99_GOAL_MS = 2_000.0


def measure(house: House) -> dict[str, Any]:
    """One rate after the other. A probe is one event of its own user, polled from the acknowledgement on."""
    rows: list[dict[str, Any]] = []
    gates: list[dict[str, Any]] = []
    for events_per_s in EVENTS_PER_S:
        cpu_before_s = house.cpu_s()
        readable_ms, published = house.run(lambda session, rate=events_per_s: _at_rate(session, rate))  # type: ignore[misc]
        found, acknowledged = quantiles(readable_ms), quantiles(published.latencies_ms)
        num_errors = len(published.errors)
        at = f"at {events_per_s:,} events/s"
        num_events = events_per_s * (WARM_UP_S + DURATION_S)
        rows += [
            {"name": "CPU", "us_per_event": _cpu_us_per_event(cpu_before_s, house.cpu_s(), num_events)},
            {"name": "publish to readable", "events_per_s": events_per_s, "latency_ms": found},
            {"name": "PublishEvents", "latency_ms": acknowledged, "num_errors": num_errors},
        ]
        gates += [
            gate(f"publish to readable p50 ms {at}", found["p50"], P50_GOAL_MS),
            gate(f"publish to readable p99 ms {at}", found["p99"], P99_GOAL_MS),
            gate(f"PublishEvents errors {at}", num_errors, 0),
        ]
    return {"rows": rows, "gates": gates}


def _cpu_us_per_event(before_s: dict[str, float], after_s: dict[str, float], num_events: float) -> dict[str, float]:
    """By process, what it does anyway included; the load itself is not in it."""
    return {name: round((after_s[name] - before_s[name]) / num_events * 1e6, 1) for name in after_s}


async def _at_rate(session: Session, events_per_s: int) -> tuple[list[float], Outcome]:
    readable_ms: list[float] = []

    async def send(number: int) -> None:
        users = [f"load-{(number * EVENTS_PER_CALL + one) % NUM_USERS:04d}" for one in range(EVENTS_PER_CALL)]
        await publish(session, [event(user, "click", f"pin-{number % 500:06d}") for user in users])

    async def probe(number: int) -> None:
        readable_ms.append(await _until_readable(session, f"probe-{number:06d}-{time.time_ns()}"))

    calls_per_s = events_per_s / EVENTS_PER_CALL
    await at_rate(send, calls_per_s, WARM_UP_S)
    async with asyncio.TaskGroup() as tasks:
        load = tasks.create_task(at_rate(send, calls_per_s, DURATION_S))
        tasks.create_task(at_rate(probe, PROBES_PER_S, DURATION_S))
    return readable_ms, load.result()


async def _until_readable(session: Session, user: str) -> float:
    start_s = time.perf_counter()
    await publish(session, [event(user, "click", "pin-000001")])
    while time.perf_counter() - start_s < PROBE_GIVES_UP_S:
        if await sequence(session, user, max_events=1):
            break
        await asyncio.sleep(POLL_S)
    return (time.perf_counter() - start_s) * 1000
