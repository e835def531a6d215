"""A flushed online store comes back with `corkboard rebuild` in a running house, while events flow in."""

import asyncio
import json
import os
import random
import subprocess
import sys
import time
from collections import defaultdict
from typing import Any

import pytest
from redis import Redis

from corkboard.commands.rebuild import job_settings
from corkboard.publishing import publish_events
from corkboard.session import Session
from e2e.house import House, eventually
from e2e.surface import Row, feed_request, get_feed, sequence
from protos.ingest.v1 import ingest_pb2

NUM_EVENTS = 6_000
NUM_USERS = 60
READABLE_WITHIN_S = 60.0

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def make_events(name: str, num_events: int = NUM_EVENTS) -> list[ingest_pb2.Event]:
    """In disorder, with duplicates, and hides among them."""
    base_ms = time.time_ns() // 1_000_000 - 2 * num_events
    dice = random.Random(4)
    events = [
        ingest_pb2.Event(
            event_id=f"{name}-{number:06d}",
            user_id=f"{name}-user-{number % NUM_USERS:03d}",
            event_type="hide" if number % 50 == 49 else "save",
            event_time_ms=base_ms + dice.randrange(num_events),
            pin_id=f"pin-{number % 500:06d}",
            surface="home",
        )
        for number in range(num_events)
    ]
    return events + dice.sample(events, num_events // 10)


def saved(events: list[ingest_pb2.Event]) -> dict[str, list[Row]]:
    rows: dict[str, set[Row]] = defaultdict(set)
    for one in events:
        if one.event_type == "save":
            rows[one.user_id].add((one.event_time_ms, one.event_id, one.pin_id))
    return {user: sorted(found) for user, found in rows.items()}


async def publish(session: Session, events: list[ingest_pb2.Event]) -> None:
    published = await publish_events(session, events)
    assert published.num_acknowledged == len(events), published


async def until_readable(session: Session, events: list[ingest_pb2.Event]) -> None:
    missing = saved(events)

    async def all_readable() -> bool:
        for user, rows in list(missing.items()):
            if await sequence(session, user) == rows:
                del missing[user]
        return not missing

    await eventually(all_readable, READABLE_WITHIN_S, every_s=0.5)


def flush(house: House) -> None:
    with Redis(port=house.endpoints.ports.valkey()) as redis:
        redis.flushall()


def rebuilt(house: House) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(house.command("rebuild", "--digest", "--json"))
    return report


def start_job(house: House) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "services.indexer.offline.rebuild", "--json"],
        env=os.environ | job_settings(house.home, house.endpoints, ""),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def kill_after_first_shards(job: "subprocess.Popen[bytes]") -> None:
    assert job.stderr is not None
    for line in job.stderr:
        if b'"lake: events"' in line:
            break
    job.kill()
    job.wait()
    job.stderr.close()


def test_a_flushed_store_comes_back_the_same(house: House) -> None:
    events = make_events(f"rebuild-{time.time_ns()}")

    async def fill(session: Session) -> None:
        await publish(session, events)
        await until_readable(session, events)

    house.run(fill)
    before = rebuilt(house)
    assert before["num_new"] == 0  # nothing was missing
    assert before["digests"]["engagement"]["num_events"] >= NUM_EVENTS * 49 // 50
    flush(house)
    after = rebuilt(house)
    assert after["num_new"] > NUM_EVENTS
    assert after["digests"] == before["digests"]
    assert after["num_pins"] > 0

    async def check(session: Session) -> None:
        for user, rows in saved(events).items():
            assert await sequence(session, user) == rows
        assert (await get_feed(session, feed_request())).items

    house.run(check)


def test_events_flow_in_while_a_killed_rebuild_goes_on(house: House) -> None:
    name = f"flow-{time.time_ns()}"
    old, new = make_events(name), make_events(f"{name}-new", 3_000)

    async def work(session: Session) -> None:
        await publish(session, old)
        await until_readable(session, old)
        flush(house)
        publishing = asyncio.create_task(publish(session, new))
        await asyncio.to_thread(kill_after_first_shards, start_job(house))
        report = await asyncio.to_thread(rebuilt, house)
        assert report["num_resumed"] == 1
        await publishing
        await until_readable(session, old + new)

    house.run(work)
    found = rebuilt(house)
    assert found["num_new"] == 0
    flush(house)
    assert rebuilt(house)["digests"] == found["digests"]
