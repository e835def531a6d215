"""kill -9 in the middle of 20,000 events: afterwards every acknowledged one is readable once, and in order."""

import asyncio
import signal
import time
from collections import defaultdict

import pytest

from corkboard.publishing import publish_events
from corkboard.session import Session
from e2e.house import House, eventually
from e2e.surface import Row, sequence
from protos.ingest.v1 import ingest_pb2

NUM_EVENTS = 20_000
NUM_USERS = 100
RECOVERS_WITHIN_S = 120.0

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def make_events(name: str) -> list[ingest_pb2.Event]:
    base_ms = time.time_ns() // 1_000_000 - NUM_EVENTS
    return [
        ingest_pb2.Event(
            event_id=f"{name}-{number:06d}",
            user_id=f"{name}-user-{number % NUM_USERS:03d}",
            event_type="click",
            event_time_ms=base_ms + number,
            pin_id=f"pin-{number % 500:06d}",
            surface="home",
        )
        for number in range(NUM_EVENTS)
    ]


@pytest.mark.parametrize("victim", ["enrich", "indexer", "kafka-1"])
def test_a_crash_loses_nothing_and_doubles_nothing(house: House, victim: str) -> None:
    name = f"crash-{victim}-{time.time_ns()}"
    events = make_events(name)
    expected: dict[str, list[Row]] = defaultdict(list)
    for one in events:
        expected[one.user_id].append((one.event_time_ms, one.event_id, one.pin_id))

    async def work(session: Session) -> None:
        publishing = asyncio.create_task(publish_events(session, events))
        await asyncio.sleep(1.0)
        house.signal(victim, signal.SIGKILL)
        if victim.startswith("kafka"):
            await asyncio.sleep(2.0)
            await asyncio.to_thread(house.start, victim)
        published = await publishing
        assert published.num_acknowledged == NUM_EVENTS, published
        missing = dict(expected)

        async def all_readable() -> bool:
            for user in list(missing):
                if len(await sequence(session, user)) >= len(expected[user]):
                    del missing[user]
            return not missing

        await eventually(all_readable, RECOVERS_WITHIN_S, every_s=0.5)
        for user, rows in expected.items():
            assert await sequence(session, user) == rows

    house.run(work)
    house.wait_ready(victim)
