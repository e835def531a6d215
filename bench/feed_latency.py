"""GetFeed under a constant rate, all services, Kafka, Valkey and the load itself on the same machine.

The wanted rate is tried first, then lower ones, a short while each, until one holds; the whole time is run at that one.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.explain_cost import explain_share
from bench.load import Outcome, at_rate, gate, quantiles
from bench.people import person
from corkboard.session import Session
from e2e.house import House
from e2e.surface import feed_request, get_feed

RATES_PER_S = (50.0, 40.0, 30.0, 25.0, 20.0, 15.0, 10.0, 7.0, 5.0)
WARM_UP_S = 20.0
STEP_S = 20.0
SETTLE_S = 8.0  # what a rate that is too high has left behind must not be the next one's
P50_GOAL_MS, P99_GOAL_MS = 40.0, 150.0
MIN_FULL_SHARE = 0.99  # a rate at which stages are left out does not hold, however fast the answers are
EXPLAIN_GOAL = 0.03


@dataclass
class Load:
    """What came of one load, and the CPU of each process per feed in ms."""

    rate_per_s: float
    outcome: Outcome
    cpu_ms: Mapping[str, float]
    missing: Sequence[str] = field(default_factory=list)

    @property
    def full_share(self) -> float:
        return 1.0 - len(self.missing) / max(1, len(self.outcome.latencies_ms))

    @property
    def holds(self) -> bool:
        return (
            self.outcome.quantile_ms(0.5) <= P50_GOAL_MS
            and self.outcome.quantile_ms(0.99) <= P99_GOAL_MS
            and not self.outcome.errors
            and self.full_share >= MIN_FULL_SHARE
        )

    def row(self) -> dict[str, Any]:
        return {
            "rate_per_s": self.rate_per_s,
            "latency_ms": quantiles(self.outcome.latencies_ms or [float("inf")]),
            "num_errors": len(self.outcome.errors),
            "errors": self.outcome.errors[:5],
            "full_share": round(self.full_share, 4),
            "cpu_ms_per_feed": round(sum(self.cpu_ms.values()), 1),
            "holds": self.holds,
        }


def measure(house: House, duration_s: float) -> dict[str, Any]:
    """The rates that were tried, the whole run at the highest one that holds, and what explanations cost."""
    _load(house, 5.0, WARM_UP_S)
    steps = []
    for rate in RATES_PER_S:
        steps.append(_load(house, rate, STEP_S))
        house.run(_settle)
        if steps[-1].holds:
            break
    highest = next((step.rate_per_s for step in steps if step.holds), 0.0)
    whole = _load(house, highest or RATES_PER_S[-1], duration_s)
    idle = house.run(lambda _: _idle(house))
    explain = explain_share(house, rate_per_s=min(10.0, whole.rate_per_s))
    return {
        "steps": [step.row() for step in steps],
        "rows": [{"name": "GetFeed", "duration_s": duration_s, **whole.row()}],
        "cpu_ms_per_feed": {name: round(ms, 2) for name, ms in sorted(whole.cpu_ms.items(), key=lambda kv: -kv[1])},
        "idle_cpu_ms_per_s": round(sum(idle.values()), 1),
        "explain": explain,
        "gates": [
            {
                "name": f"GetFeed requests/s with p50 ≤ {P50_GOAL_MS:g} ms, p99 ≤ {P99_GOAL_MS:g} ms, 20 k pins",
                "value": highest,
                "goal": RATES_PER_S[0],
                "holds": highest >= RATES_PER_S[0],
            },
            gate(f"GetFeed p50 ms at {whole.rate_per_s:g} rps", whole.outcome.quantile_ms(0.5), P50_GOAL_MS),
            gate(f"GetFeed p99 ms at {whole.rate_per_s:g} rps", whole.outcome.quantile_ms(0.99), P99_GOAL_MS),
            gate("GetFeed errors", len(whole.outcome.errors), 0),
            gate("share of GetFeed's CPU that keeps explanations", explain["share"], EXPLAIN_GOAL),
        ],
    }


def _load(house: House, rate_per_s: float, duration_s: float) -> Load:
    missing: list[str] = []

    async def work(session: Session) -> Outcome:
        async def ask(number: int) -> None:
            feed = await get_feed(session, feed_request(person(number), page_size=20), timeout_s=2.0)
            if feed.degradations:
                missing.append(feed.degradations[0].component)

        return await at_rate(ask, rate_per_s, duration_s)

    before = house.cpu_s()
    outcome = house.run(work)
    after = house.cpu_s()
    num = max(1, int(rate_per_s * duration_s))
    cpu_ms = {name: 1e3 * (after[name] - before.get(name, 0.0)) / num for name in after}
    return Load(rate_per_s, outcome, cpu_ms, missing)


async def _settle(session: Session) -> None:
    del session
    await asyncio.sleep(SETTLE_S)


async def _idle(house: House) -> dict[str, float]:
    before = house.cpu_s()
    await asyncio.sleep(SETTLE_S)
    after = house.cpu_s()
    return {name: 1e3 * (after[name] - before.get(name, 0.0)) / SETTLE_S for name in after}
