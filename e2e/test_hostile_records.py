"""Hostile records in every topic: each is handled, parked with a reason or refused, is counted, and the next good one
works. In a house of its own, which they may leave in any state."""

import asyncio
import contextlib
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from chassis.errors import Conflict
from chassis.kafka.topic import Topic
from corkboard.session import Session
from e2e.hostile.records import MAX_RECORD_BYTES, GoodRecord, HostileRecord, hostile_records
from e2e.hostile.requests import good_requests, use_rule
from e2e.hostile.watch import Watch, counted
from e2e.house import House, claimed_port_base, eventually
from e2e.surface import event, feed_request, get_feed, publish, sequence
from protos import topics
from protos.ingest.v1 import ingest_pb2

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
HANDLED_WITHIN_S = 120.0
EVERYBODY = ("ingest", "enrich", "indexer", "indexer-lake", "cg", "ranker", "ranker-leaf", "blender", "quota")


@dataclass(frozen=True)
class Ends:
    """Who reads a topic: as members of a group, or whole."""

    groups: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()


READERS = {
    topics.EVENTS_ACCEPTED.name: Ends(("enrich", "indexer")),
    topics.EVENTS_ENRICHED.name: Ends(("indexer", "indexer-lake", "cg")),
    topics.PINS_PUBLISHED.name: Ends(("enrich",)),
    topics.PINS_ENRICHED.name: Ends(("indexer",), ("cg",)),
    topics.EMBEDDINGS_PUBLISHED.name: Ends(("indexer",)),
    topics.FEEDS_SERVED.name: Ends(("indexer", "indexer-lake", "cg")),
    topics.MODELS_RELEASED.name: Ends((), ("cg", "ranker", "ranker-leaf")),
    topics.DEFINITIONS_RELEASED.name: Ends((), ("ingest", "enrich", "indexer", "cg", "ranker", "blender")),
    topics.QUOTA_RULES.name: Ends((), ("ingest", "enrich", "indexer", "cg", "ranker", "ranker-leaf", "blender")),
    topics.QUOTA_USAGE.name: Ends(("quota", "indexer-lake")),
}


@pytest.fixture(scope="module")
def doomed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with claimed_port_base() as port_base:
        house = House(Path(tmp_path_factory.mktemp("doomed")), port_base)
        house.up()
        try:
            house.command("world", "--pins", "300", "--people", "30", "--json")
            house.command("train", "all", "--json", timeout_s=240.0)
            house.run(fill_topics)
            yield house
        finally:
            house.down()


@pytest.mark.parametrize("topic", topics.ALL, ids=lambda topic: topic.name)
def test_hostile_records_are_dealt_with_and_the_next_good_one_works(doomed: House, topic: Topic) -> None:
    good = asyncio.run(last_of(doomed, topic))
    records = list(hostile_records(topic, good))
    watch, counts, parked = Watch(doomed, EVERYBODY), seen_counts(doomed, topic), parked_in(doomed, topic)
    num_sent = asyncio.run(send_all(doomed, topic, records))
    assert num_sent == len(records)
    wait_for_counts(doomed, topic, counts, num_sent)
    assert watch.restarted() == {}
    assert watch.bugs() == []
    poison = [record.name for record in records if record.is_poison]
    new = parked_in(doomed, topic)[len(parked) :]
    if READERS[topic.name].groups:
        assert len(new) >= len(poison), f"poison that nobody parked, of: {poison}"
        assert all(record["parked-why"] and record["parked-from"] and record["parked-where"] for record in new)
    refused = refusals(doomed, topic) if READERS[topic.name].tables else {}
    assert all(number > 0 for number in refused.values()), refused
    asyncio.run(send_all(doomed, topic, [HostileRecord("good", good.value, good.key, good.headers)]))
    wait_for_counts(doomed, topic, counts, num_sent + 1)
    doomed.run(still_works)


async def fill_topics(session: Session) -> None:
    """Leaves served feeds, rules, used quota and user states behind."""
    await good_requests(session)
    key = "data/indexer/GetUser/default"
    with contextlib.suppress(Conflict):
        await use_rule(session, key)
    for number in range(20):
        await get_feed(session, feed_request(f"person-{number:05d}"))


async def still_works(session: Session) -> None:
    """A feed, and a save that becomes readable."""
    user, saved = "person-00007", event("person-00007", "save", "pin-000002")
    verdicts = await publish(session, [saved])
    assert verdicts[0].outcome == ingest_pb2.OUTCOME_ACCEPTED, verdicts

    async def is_readable() -> bool:
        return any(row[1] == saved.event_id for row in await sequence(session, user))

    await eventually(is_readable, within_s=20.0)
    feed = await get_feed(session, feed_request(f"reader-{uuid.uuid4().hex}"))
    assert len(feed.items) == 10
    assert not [one for one in feed.degradations if one.reason == "internal"]


def seen_counts(house: House, topic: Topic) -> dict[tuple[str, str], float]:
    """(process, counter) -> how many records of the topic it has dealt with."""
    ends = READERS[topic.name]
    groups = {(name, "kafka_records_handled_total"): topic.name for name in ends.groups}
    tables = {(name, "kafka_table_records_total"): topic.name for name in ends.tables}
    return {(name, series): counted(house, name, series, topic=topic.name) for name, series in groups | tables}


def wait_for_counts(house: House, topic: Topic, before: dict[tuple[str, str], float], number: int) -> None:
    give_up_s = time.monotonic() + HANDLED_WITHIN_S
    while True:
        missing = {one: count - before[one] for one, count in seen_counts(house, topic).items()}
        missing = {one: count for one, count in missing.items() if count < number}
        if not missing:
            return
        assert time.monotonic() < give_up_s, f"of {number} records were dealt with: {missing}"
        time.sleep(0.5)


def refusals(house: House, topic: Topic) -> dict[str, float]:
    """By process: records of a table that were refused, or announcements of bundles that could not be read."""
    names = READERS[topic.name].tables
    return {
        name: counted(house, name, "kafka_table_records_total", topic=topic.name, outcome="refused")
        + counted(house, name, "bundle_swaps_total", outcome="undecodable")
        + counted(house, name, "index_refusals_total")
        for name in names
    }


async def last_of(house: House, topic: Topic) -> GoodRecord:
    """The newest real record; polled for, as usage and user states come by themselves."""
    for _ in range(60):
        found = [record for record in await all_of(house, topic) if record.value]
        if found:
            newest = max(found, key=lambda record: record.timestamp)
            return GoodRecord(newest.value, newest.key, tuple(newest.headers))
        await asyncio.sleep(1.0)
    raise AssertionError(f"no record in {topic.name}")


async def all_of(house: House, topic: Topic) -> Sequence[Any]:
    client = AIOKafkaConsumer(bootstrap_servers=house.endpoints.kafka, max_partition_fetch_bytes=2 * MAX_RECORD_BYTES)
    await client.start()
    try:
        partitions = [TopicPartition(topic.name, number) for number in range(topic.num_partitions)]
        client.assign(partitions)
        await client.seek_to_beginning(*partitions)
        ends, found = await client.end_offsets(partitions), []
        while any([await client.position(one) < end for one, end in ends.items()]):
            for records in (await client.getmany(timeout_ms=500)).values():
                found += records
        return found
    finally:
        await client.stop()


def parked_in(house: House, topic: Topic) -> list[dict[str, str]]:
    """Headers of what is parked, in order."""
    found = asyncio.run(all_of(house, topic.parked))
    return [{key: (value or b"").decode(errors="replace") for key, value in record.headers} for record in found]


async def send_all(house: House, topic: Topic, records: Sequence[HostileRecord]) -> int:
    """As somebody with rights to the topic and no good will; returns how many Kafka took."""
    client = AIOKafkaProducer(bootstrap_servers=house.endpoints.kafka, max_request_size=2 * MAX_RECORD_BYTES)
    await client.start()
    try:
        for record in records:
            batch = client.create_batch()  # takes what `send` would refuse
            batch.append(timestamp=None, key=record.key, value=record.value, headers=list(record.headers))
            batch.close()
            await (await client.send_batch(batch, topic.name, partition=0))
        return len(records)
    finally:
        await client.stop()
