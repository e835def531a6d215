"""Looks at a house once a second while it is under load: lag, memory, calls each part has seen, freshness."""

import asyncio
import time
import urllib.request
from collections.abc import Callable

from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from prometheus_client.parser import text_string_to_metric_families

from chassis.errors import CorkboardError
from chassis.kafka.partitioner import partition_for
from corkboard.session import Session
from e2e.chaos.history import INFO, OK, Record
from e2e.house import House
from e2e.surface import event, publish, sequence
from protos import topics

EVERY_S = 1.0
POLL_S = 0.05
READABLE_WITHIN_S = 10.0
SERVING = ("cg", "ranker", "ranker-leaf", "indexer")
GROUPS = ("enrich", "indexer-online")
Add = Callable[[Record], None]
NowS = Callable[[], float]


async def watch(house: House, add: Add, now_s: NowS) -> None:
    """Until it is cancelled; a part that is away has no sample."""
    while True:
        start_s = time.monotonic()
        for record in await asyncio.to_thread(_processes, house, now_s()):
            add(record)
        await asyncio.sleep(max(0.0, EVERY_S - (time.monotonic() - start_s)))


async def watch_lag(house: House, add: Add, now_s: NowS) -> None:
    """Records that each consumer group has not committed yet, once a second, until it is cancelled."""
    while True:
        try:
            for group, lag in (await _lags(house.endpoints.kafka)).items():
                add(Record(now_s(), group, "sample", "lag_records", lag))
        except (KafkaError, OSError, TimeoutError):
            pass  # the broker is away: that is what the picture shows
        await asyncio.sleep(EVERY_S)


async def probe_freshness(session: Session, run: str, add: Add, now_s: NowS) -> None:
    """One event after the other, over all partitions in turn, each watched until it can be read."""
    num_partitions = topics.EVENTS_ACCEPTED.num_partitions
    number = 0
    while True:
        user = _user_in(f"{run}-probe-{number}", number % num_partitions, num_partitions)
        began_s = now_s()
        try:
            await publish(session, [event(user, "click", "pin-000001")])
            took_ms = await _until_readable(session, user)
            outcome = OK if took_ms < READABLE_WITHIN_S * 1000 else INFO
            add(Record(began_s, "surface", "fresh", str(number % num_partitions), took_ms, outcome))
        except CorkboardError:
            pass  # nothing was acknowledged: nothing is promised
        number += 1
        await asyncio.sleep(0.2)


async def _until_readable(session: Session, user: str) -> float:
    start_s = time.perf_counter()
    while time.perf_counter() - start_s < READABLE_WITHIN_S:
        try:
            if await sequence(session, user, max_events=1):
                break
        except CorkboardError:
            pass
        await asyncio.sleep(POLL_S)
    return round((time.perf_counter() - start_s) * 1000, 1)


def _user_in(prefix: str, partition: int, num_partitions: int) -> str:
    return next(
        name for name in (f"{prefix}-{n}" for n in range(10_000)) if partition_for(name, num_partitions) == partition
    )


def _processes(house: House, t: float) -> list[Record]:
    ports, found = house.endpoints.ports, []
    for name, (pid, resident_mb) in house.resident_by_pid().items():
        found.append(Record(t, name, "sample", f"resident_mb {pid}", resident_mb))
    for name in SERVING:
        if (calls := _server_calls(ports.admin(name))) is not None:
            found.append(Record(t, name, "sample", "server_calls", calls))
    return found


def _server_calls(admin_port: int) -> float | None:
    """RPCs that a service has answered; None while it is away."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{admin_port}/metrics", timeout=1.0) as answer:
            text = answer.read().decode()
    except OSError:
        return None
    families = text_string_to_metric_families(text)
    samples = (sample for family in families for sample in family.samples if sample.name == "grpc_server_calls_total")
    return sum(sample.value for sample in samples)


async def _lags(bootstrap: str) -> dict[str, int]:
    """Uncommitted records by consumer group."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, request_timeout_ms=2_000)
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, request_timeout_ms=2_000)
    try:
        await admin.start()
        await consumer.start()
        groups = [name for name, _ in await admin.list_consumer_groups() if name.startswith(GROUPS)]
        lags = {}
        for group in groups:
            committed = await admin.list_consumer_group_offsets(group)
            known = {one: meta.offset for one, meta in committed.items() if meta.offset >= 0}
            ends = await consumer.end_offsets(list(known))
            lags[group] = sum(max(0, ends[one] - offset) for one, offset in known.items())
        return lags
    finally:
        await consumer.stop()
        await admin.close()
