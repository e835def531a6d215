"""kill -9 at each step of enrich and indexer, again and again: nothing lost, nothing twice, order kept."""

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Mapping

import psutil
import pytest

from corkboard.session import Session
from e2e.crashing_service import STEPS
from e2e.house import House, eventually
from e2e.surface import Row, event, publish, sequence
from protos.ingest.v1 import ingest_pb2

NUM_KILLS = int(os.environ.get("CORKBOARD_NUM_KILLS", "20"))
MAX_PASSES = {"commit": 3}  # twice a second; the other steps pass many times a second
CALLS_PER_S = 20
EVENTS_PER_CALL = 10
NUM_USERS = 40
DIES_WITHIN_S = 60.0
READABLE_WITHIN_S = 60.0

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.mark.parametrize(("service", "step"), [(service, step) for service, steps in STEPS.items() for step in steps])
def test_nothing_is_lost_or_doubled_by_kills_at(house: House, service: str, step: str) -> None:
    environment = psutil.Process(house.pid(service)).environ()
    house.stop(service)
    passes = random.Random(f"{service} {step}")
    stream = Stream(f"{service}-{step}-{time.time_ns()}")

    async def work(session: Session) -> None:
        publishing = asyncio.create_task(stream.publish(session))
        for _ in range(NUM_KILLS):
            at = passes.randint(1, MAX_PASSES.get(step, 20))
            await asyncio.to_thread(_run_until_killed, service, environment | {"CRASH_STEP": step, "CRASH_AT": str(at)})
        stream.is_over = True
        await publishing
        await asyncio.to_thread(house.start, service)
        for user, rows in stream.expected.items():
            await eventually(lambda user=user, rows=rows: _holds(session, user, len(rows)), READABLE_WITHIN_S)  # type: ignore[misc]
            assert await sequence(session, user) == rows

    try:
        house.run(work)
    finally:
        house.start(service)
        house.wait_ready(service)


class Stream:
    """Events of a few users at a constant rate; `expected` are those that ingest acknowledged."""

    def __init__(self, name: str) -> None:
        self.is_over = False
        self.expected: dict[str, list[Row]] = defaultdict(list)
        self._name = name
        self._base_ms = time.time_ns() // 1_000_000 - 3_600_000
        self._num = 0

    async def publish(self, session: Session) -> None:
        while not self.is_over:
            events = [self._next() for _ in range(EVENTS_PER_CALL)]
            verdicts = await publish(session, events)
            assert {one.outcome for one in verdicts} == {ingest_pb2.OUTCOME_ACCEPTED}
            for one in events:
                self.expected[one.user_id].append((one.event_time_ms, one.event_id, one.pin_id))
            await asyncio.sleep(1 / CALLS_PER_S)

    def _next(self) -> ingest_pb2.Event:
        self._num += 1
        user = f"{self._name}-{self._num % NUM_USERS}"
        return event(user, "click", f"pin-{self._num % 500:06d}", event_time_ms=self._base_ms + self._num)


async def _holds(session: Session, user: str, num_events: int) -> bool:
    return len(await sequence(session, user)) >= num_events


def _run_until_killed(service: str, environment: Mapping[str, str]) -> None:
    command = [sys.executable, "-m", "e2e.crashing_service", service]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        assert process.wait(DIES_WITHIN_S) == -signal.SIGKILL, f"{service} ended with {process.returncode}"
    finally:
        process.kill()
        process.wait()
