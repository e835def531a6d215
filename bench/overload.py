"""A server under three times the load it can answer: what it still does, and how soon it is well again.

`python -m bench overload` needs no house. A real gRPC door with a few slots of fixed work, an open loop of calls: work
takes its time whatever the machine does, so the figures say what shedding does and not how fast the machine is.
"""

import asyncio
import statistics
from typing import Any

from bench.load import gate
from chassis.metrics import Metrics
from chassis.protection.shedding import SheddingLimits
from chassis.tests.grpc_world import ScriptedQuota, answer_with_key, serving
from chassis.tests.test_shedding import CAPACITY_PER_S, SERVICE_S, SLOTS, OpenLoad, Phase

ROUNDS = 3
PEAK_S, OVERLOAD_S, AFTER_S = 6.0, 6.0, 12.0
SHEDDING = SheddingLimits(min_concurrent=6)
WELL = 2.0  # times the p99 before
GOODPUT_GOAL, RECOVERY_GOAL_S = 0.8, 10.0


def measure() -> dict[str, Any]:
    """Figures and goals; the same overload without shedding beside them."""
    shed, bare = [], []
    for _ in range(ROUNDS):  # in turns
        shed.append(asyncio.run(_round(SHEDDING)))
        bare.append(asyncio.run(_round(None)))
    figures = {
        f"{name}_{key}": _median(rounds, key) for name, rounds in (("shed", shed), ("bare", bare)) for key in shed[0]
    }
    return {
        "setup": {
            "rounds": ROUNDS,
            "slots": SLOTS,
            "work_s": SERVICE_S,
            "capacity_per_s": CAPACITY_PER_S,
            "overload": 3,
        },
        "figures": figures,
        "gates": [
            gate("goal / goodput at 3x, of the peak", GOODPUT_GOAL / max(figures["shed_goodput_ratio"], 1e-9), 1.0),
            gate("seconds until p99 is normal", figures["shed_recovery_s"], RECOVERY_GOAL_S),
        ],
    }


async def _round(limits: SheddingLimits | None) -> dict[str, float]:
    slots = asyncio.Semaphore(SLOTS)

    async def work(request: Any) -> Any:
        async with slots:
            await asyncio.sleep(SERVICE_S)
            return await answer_with_key(request)

    async with serving(ScriptedQuota(work), shedding=limits, metrics=Metrics("bench")) as door:
        load = OpenLoad(door.address)
        calm = await load.phase(0.5 * CAPACITY_PER_S, PEAK_S)
        peak = await load.phase(CAPACITY_PER_S, PEAK_S)
        during = await load.phase(3 * CAPACITY_PER_S, OVERLOAD_S)
        after = [await load.phase(0.5 * CAPACITY_PER_S, 1.0) for _ in range(int(AFTER_S))]
        for channel in load.channels:
            await channel.close()
    return {
        "goodput_ratio": during.good / max(1, peak.good),
        "refused_ratio": during.refused / (during.good + during.refused + during.late),
        "late_ratio": during.late / (during.good + during.refused + during.late),
        "calm_p99_s": _p99(calm),
        "overload_p99_s": _p99(during),
        "recovery_s": _recovery_s(after, _p99(calm)),
    }


def _recovery_s(after: list[Phase], calm_p99_s: float) -> float:
    """Seconds after the load fell until every call is answered as before; infinite when that never came."""
    well = [not (each.refused or each.late) and _p99(each) <= WELL * calm_p99_s for each in after]
    first = next((second for second in range(len(well)) if all(well[second:])), None)
    return float("inf") if first is None else float(first)


def _p99(phase: Phase) -> float:
    return sorted(phase.latencies_s)[int(len(phase.latencies_s) * 0.99)] if phase.latencies_s else float("inf")


def _median(rounds: list[dict[str, float]], key: str) -> float:
    return round(statistics.median(each[key] for each in rounds), 3)
