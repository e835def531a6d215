"""GetFeed under a constant rate while each dependency in turn is killed and kept away for half a minute."""

import asyncio
import signal
from collections import Counter
from typing import Any

from bench.load import at_rate, quantiles
from bench.people import person
from corkboard.session import Session
from e2e.house import House
from e2e.surface import feed_request, get_feed

PARTS = ("cg", "ranker", "ranker-leaf", "indexer", "quota", "valkey", "kafka-1")
AWAY_S = 30.0
RECOVERY_S = 20.0
DEADLINE_MS = 250.0  # blender's cap
SLACK_MS = 20.0
IN_TIME_GOAL = 0.999
NEEDING_RECOVERY = ("indexer", "cg", "ranker", "ranker-leaf", "blender", "enrich")


def measure(house: House, rate_per_s: float) -> dict[str, Any]:
    """Per part: how many pages came in time, how many were empty, what the answers name, the latency."""
    rows = [_control(house, rate_per_s)]
    for part in PARTS:
        rows.append(_without(house, part, rate_per_s))
    asked = sum(row["num_feeds"] for row in rows[1:])
    in_time = sum(row["num_in_time"] for row in rows[1:])
    empty = sum(row["num_empty"] for row in rows[1:])
    return {
        "rate_per_s": rate_per_s,
        "rows": rows,
        "gates": [
            {
                "name": f"share of pages later than {DEADLINE_MS + SLACK_MS:g} ms or lost, a dependency killed",
                "value": round(1.0 - in_time / asked, 5),
                "goal": round(1.0 - IN_TIME_GOAL, 5),
                "holds": in_time >= IN_TIME_GOAL * asked,
            },
            {"name": "empty pages", "value": empty, "goal": 0, "holds": empty == 0},
        ],
    }


def _control(house: House, rate_per_s: float) -> dict[str, Any]:
    return {"without": "nothing"} | house.run(lambda session: _load(session, rate_per_s))


def _without(house: House, part: str, rate_per_s: float) -> dict[str, Any]:
    async def kill_and_load(session: Session) -> dict[str, Any]:
        load = asyncio.create_task(_load(session, rate_per_s))
        await asyncio.sleep(1.0)
        house.signal(part, signal.SIGKILL)
        await asyncio.to_thread(house.stop, part)  # or the supervisor would start it again
        return await load

    try:
        row = {"without": part} | house.run(kill_and_load)
    finally:
        house.start(part)
        for name in (part, *NEEDING_RECOVERY):
            house.wait_ready(name, RECOVERY_S * 3)
    house.run(_settle)
    return row


async def _settle(session: Session) -> None:
    await at_rate(lambda number: _ask(session, number, Counter(), Counter()), 2.0, RECOVERY_S)


async def _load(session: Session, rate_per_s: float) -> dict[str, Any]:
    named: Counter[str] = Counter()
    sizes: Counter[int] = Counter()
    outcome = await at_rate(lambda number: _ask(session, number, named, sizes), rate_per_s, AWAY_S)
    in_time = [each for each in outcome.latencies_ms if each <= DEADLINE_MS + SLACK_MS]
    return {
        "num_feeds": int(rate_per_s * AWAY_S),
        "num_in_time": len(in_time),
        "num_empty": sizes[0],
        "latency_ms": quantiles(outcome.latencies_ms or [float("nan")]),
        "errors": outcome.errors[:5],
        "num_errors": len(outcome.errors),
        "named": dict(named.most_common(8)),
    }


async def _ask(session: Session, number: int, named: Counter[str], sizes: Counter[int]) -> None:
    request = feed_request(person(number), page_size=20)
    feed = await get_feed(session, request, timeout_s=2.0)
    sizes[len(feed.items)] += 1
    named.update({f"{each.component}: {each.level}" for each in feed.degradations})
