"""GetFeed under a constant rate, all services, Kafka and Valkey on the same machine."""

from typing import Any

from bench.load import Outcome, at_rate, gate, quantiles
from corkboard.session import Session
from e2e.house import House
from e2e.surface import feed_request, get_feed

RATE_PER_S = 10.0
WARM_UP_S = 5.0
DURATION_S = 60.0
P99_GOAL_MS = 250.0
NUM_PEOPLE = 500


def measure(house: House) -> dict[str, Any]:
    """Latency from the intended send time, errors, and how many answers were degraded."""
    degraded: list[str] = []

    async def work(session: Session) -> Outcome:
        async def ask(number: int) -> None:
            user = f"person-{number * 7 % NUM_PEOPLE:05d}"
            feed = await get_feed(session, feed_request(user, page_size=20), timeout_s=2.0)
            degraded.extend(f"{item.component}: {item.reason}" for item in feed.degradations)

        await at_rate(ask, RATE_PER_S, WARM_UP_S)
        degraded.clear()
        return await at_rate(ask, RATE_PER_S, DURATION_S)

    outcome = house.run(work)
    return {
        "rows": [
            {
                "name": "GetFeed",
                "rate_per_s": RATE_PER_S,
                "latency_ms": quantiles(outcome.latencies_ms),
                "errors": outcome.errors[:10],
                "num_errors": len(outcome.errors),
                "degraded": sorted(set(degraded)),
                "num_degradations": len(degraded),
            }
        ],
        "gates": [
            gate("GetFeed p99 ms at 10 rps, 5 k pins", outcome.quantile_ms(0.99), P99_GOAL_MS),
            gate("GetFeed errors", len(outcome.errors), 0),
        ],
    }
