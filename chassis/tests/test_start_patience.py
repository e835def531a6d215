"""A start without a broker waits once and not once for each topic."""

import asyncio

from chassis.kafka.start_patience import LEAST_S, StartPatience
from chassis.testing import VirtualClock, run_virtually


async def wait_for(patience: StartPatience, after_s: float, limit_s: float) -> None:
    task = asyncio.ensure_future(asyncio.sleep(after_s))
    try:
        await patience.wait(task, limit_s)
    finally:
        task.cancel()


def test_three_topics_that_are_away_cost_the_longest_limit_and_little_more() -> None:
    async def work(clock: VirtualClock) -> float:
        patience = StartPatience(clock)
        for limit_s in (5.0, 10.0, 10.0):
            await wait_for(patience, 1_000.0, limit_s)
        return clock.monotonic_s()

    assert run_virtually(work) == 10.0 + LEAST_S


def test_topics_that_come_take_no_patience() -> None:
    async def work(clock: VirtualClock) -> float:
        patience = StartPatience(clock)
        for _ in range(3):
            await wait_for(patience, 4.0, 5.0)
        await wait_for(patience, 1_000.0, 5.0)
        return clock.monotonic_s()

    assert run_virtually(work) == 17.0
