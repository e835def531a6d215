"""The real Kafka keeps the promises of the contract, and gets over members and brokers that go."""

import asyncio
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from chassis.deadline import Deadline
from chassis.errors import Invalid, Unavailable
from chassis.health import Health
from chassis.kafka.bus import KafkaBus, Part, Producer, Record
from chassis.kafka.producer import ACK_WITHIN_S, PRODUCE_TIMEOUT_MS
from chassis.kafka.topic import Topic
from chassis.metrics import Metrics
from chassis.tasks import Crew
from chassis.testing import eventually
from chassis.testing.ports import free_ports
from chassis.tests.contract_bus import READERS, WITHIN_S, BusContract, Seen, make_topic, reader, running, send, unique
from corkboard.local.kafka_server import KafkaServer

pytestmark = [pytest.mark.servers]
REJOINS_WITHIN_S = 30.0  # a session is 10 s, and aiokafka needs a few more after the broker is back


@pytest.fixture
def health() -> Health:
    return Health()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics("test")


@pytest.fixture
def bus(kafka: KafkaServer, health: Health, metrics: Metrics) -> KafkaBus:
    return KafkaBus(kafka.address, zone="local", instance="test", metrics=metrics, health=health)


class TestKafkaBus(BusContract):
    """On a broker."""


def nowhere(health: Health) -> KafkaBus:
    """A bus whose Kafka is not there."""
    (port,) = free_ports(1)
    return KafkaBus(f"127.0.0.1:{port}", zone="", instance="test", metrics=Metrics("test"), health=health)


def topic_of(name: str, num_partitions: int = 1) -> Topic:
    return Topic(name, "key", "value", "tests", ("tests",), num_partitions)


async def test_a_record_refused_by_the_broker_stops_no_later_one(bus: KafkaBus, kafka: KafkaServer) -> None:
    topic, producer, found = topic_of(unique("small")), bus.producer(), list[Record]()
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.address)
    await admin.start()
    await admin.create_topics([NewTopic(topic.name, 1, 1, topic_configs={"max.message.bytes": "1000"})])
    await admin.close()
    async with running(producer):
        await producer.send(topic, b"a")
        with pytest.raises(Invalid, match="too large"):
            await producer.send(topic, os.urandom(5_000))
        await producer.send(topic, b"b")
    async with running(bus.table("t", topic, found.append)):
        assert [record.value for record in found] == [b"a", b"b"]


async def test_poison_of_nothing_and_poison_as_large_as_a_record_are_parked(bus: KafkaBus, kafka: KafkaServer) -> None:
    topic = await make_topic(bus)
    largest = os.urandom((8 << 20) - 200)  # with what parking says of it, it is too large
    sender = AIOKafkaProducer(bootstrap_servers=kafka.address, max_request_size=16 << 20)
    await sender.start()
    for key, value in ((None, None), (None, largest), (b"k", b"good")):
        batch = sender.create_batch()
        batch.append(timestamp=None, key=key, value=value)
        batch.close()
        await (await sender.send_batch(batch, topic.name, partition=0))
    await sender.stop()
    good, parked = list[Record](), list[Record]()

    async def handle(records: Sequence[Record]) -> None:
        if any(record.value != b"good" for record in records):
            raise Invalid("poison")
        good.extend(records)

    async with running(bus.consumer("reader", [topic], unique("group"), handle)):
        await eventually(lambda: len(good) == 1, WITHIN_S)
    async with running(bus.table("parked", topic.parked, parked.append)):
        assert [record.value for record in parked] == [b"", b""]
    assert parked[1].headers["parked-left-out"] == f"value of {len(largest)} bytes"
    assert [record.headers["parked-from"] for record in parked] == [f"{topic.name}/0/0", f"{topic.name}/0/1"]


async def test_a_record_to_a_frozen_broker_is_asked_for_anew_and_written_once(
    bus: KafkaBus, kafka: KafkaServer
) -> None:
    topic, found, producer = await make_topic(bus), list[Record](), bus.producer()
    async with running(producer):
        await producer.send(topic, b"before")
        assert kafka.pid is not None
        os.kill(kafka.pid, signal.SIGSTOP)
        try:
            sending = asyncio.create_task(producer.send(topic, b"meanwhile"))
            await asyncio.sleep(1.5 * PRODUCE_TIMEOUT_MS / 1_000)
        finally:
            os.kill(kafka.pid, signal.SIGCONT)
        await asyncio.wait_for(sending, WITHIN_S)
    async with running(bus.table("frozen", topic, found.append)):
        assert [record.value for record in found] == [b"before", b"meanwhile"]


async def test_a_record_may_be_without_a_leader_for_as_long_as_its_caller_waits(bus: KafkaBus) -> None:
    producer = bus.producer()
    async with running(producer):
        await producer.send(await make_topic(bus), b"a")
        client: Any = vars(producer)["_client"]
        assert client._message_accumulator._batch_ttl == ACK_WITHIN_S


async def test_a_send_without_kafka_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chassis.kafka.producer.ACK_WITHIN_S", 0.3)
    producer = nowhere(Health()).producer()
    async with running(producer):
        with pytest.raises(Unavailable) as raised:
            await asyncio.wait_for(producer.send(topic_of("t"), b"a"), 2.0)
    assert raised.value.retry_after_s == 1.0


async def test_a_send_that_waits_hears_of_the_stop() -> None:
    producer = nowhere(Health()).producer()
    async with running(producer):
        sending = asyncio.create_task(producer.send(topic_of("t"), b"a"))
        await asyncio.sleep(0.05)
        await producer.stop(Deadline.after(1.0))
        with pytest.raises(Unavailable):
            await asyncio.wait_for(sending, 2.0)


@pytest.mark.parametrize("kind", READERS)
async def test_without_kafka_a_reader_starts_and_is_not_ready(kind: str) -> None:
    health = Health()
    async with running(reader(nowhere(health), kind, [topic_of("t")], "group", Seen())):
        await eventually(lambda: "cannot be reached" in health.report()["reader"], WITHIN_S)
        assert not health.is_ready()
        assert health.is_alive()


@pytest.mark.parametrize("kind", READERS)
async def test_a_reader_names_missing_topics_and_waits_for_them(bus: KafkaBus, health: Health, kind: str) -> None:
    topic, seen = topic_of(unique("late")), Seen()
    async with running(reader(bus, kind, [topic], unique("group"), seen)):
        await eventually(
            lambda: health.report()["reader"] == f"topics are missing, or may not be seen: {topic.name}", WITHIN_S
        )
        assert not health.is_ready()
        await bus.ensure_topics([topic])
        await send(bus, topic, b"a")
        await seen.until(1)
        await eventually(health.is_ready, WITHIN_S)


async def test_a_table_without_kafka_gives_up_and_can_be_started_again(
    bus: KafkaBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chassis.kafka.table.CATCH_UP_WITHIN_S", 0.5)
    topic, found = topic_of(unique("late")), list[Record]()
    table = bus.table("t", topic, found.append)
    with pytest.raises(Unavailable, match=f"topics are missing, or may not be seen: {topic.name}"):
        async with running(table):
            pass
    monkeypatch.undo()
    await bus.ensure_topics([topic])
    await send(bus, topic, b"a")
    async with running(table):
        assert len(found) == 1


async def test_more_replicas_than_brokers_are_refused_in_words(bus: KafkaBus) -> None:
    with pytest.raises(Unavailable, match="InvalidReplicationFactor"):
        await bus.ensure_topics([topic_of(unique("wide"))], replication=3)


async def test_an_admin_without_kafka_is_refused_in_words() -> None:
    with pytest.raises(Unavailable, match="cannot be reached"):
        await nowhere(Health()).ensure_topics([topic_of("t")])
    with pytest.raises(Unavailable):
        await nowhere(Health()).end_offsets([topic_of("t")])


async def test_metrics_tell_what_became_of_records(bus: KafkaBus, metrics: Metrics) -> None:
    topic = await make_topic(bus)
    seen = Seen(lambda record: Invalid("no", reason="bad_pin") if record.value == b"bad" else None)
    await send(bus, topic, b"a", b"bad", b"b")
    async with running(bus.consumer("reader", [topic], unique("group"), seen)):
        await seen.until(2)

        def value(name: str, **labels: str) -> float | None:
            return metrics.registry.get_sample_value(name, {"topic": topic.name, **labels})

        await eventually(lambda: value("kafka_records_handled_total", outcome="parked") == 1.0)
        assert value("kafka_records_handled_total", outcome="handled") == 2.0
        assert value("kafka_records_parked_total", reason="bad_pin") == 1.0
        assert value("kafka_records_sent_total", outcome="acknowledged") == 3.0
        await eventually(lambda: value("kafka_consumer_lag_records", partition="0") == 0.0)


async def test_a_patient_reader_gets_all_in_order_and_together(bus: KafkaBus) -> None:
    topic, seen, num = await make_topic(bus), Seen(), 60
    producer = bus.producer(linger_s=0.03)
    async with running(producer, bus.consumer("patient", [topic], unique("group"), seen, is_patient=True)):
        await send(bus, topic, b"warm")
        await seen.until(1)
        await _send_slowly(producer, topic, num)
        await seen.until(num + 1)
    assert _numbers(seen) == list(range(num))
    assert len(seen.batches) < num / 3, f"{num} records came in {len(seen.batches)} calls"


@pytest.mark.timeout(120)
@pytest.mark.parametrize("kind", READERS)
async def test_members_that_come_and_go_lose_nothing_and_repeat_little(bus: KafkaBus, kind: str) -> None:
    topic, group = await make_topic(bus, num_partitions=4), unique("group")
    seen, second_seen, num = Seen(), Seen(), 600
    producer, first = bus.producer(), reader(bus, kind, [topic], group, seen)
    async with running(producer, first):
        await send(bus, topic, b"warm", partition=0)
        await seen.until(1)
        sending = asyncio.create_task(_send_slowly(producer, topic, num))
        await asyncio.sleep(0.3)
        second = reader(bus, kind, [topic], group, second_seen)
        async with running(second):
            await second_seen.until(20)
        await sending
        await eventually(lambda: len({*_numbers(seen), *_numbers(second_seen)}) == num, REJOINS_WITHIN_S)
    repeats = len(_numbers(seen)) + len(_numbers(second_seen)) - num
    assert repeats <= 32, f"{repeats} records were handled twice"
    assert repeats or (_is_in_order(seen.records) and _is_in_order(second_seen.records))


@pytest.mark.timeout(150)
async def test_a_killed_broker_costs_time_and_nothing_else(kafka: KafkaServer, bus: KafkaBus, health: Health) -> None:
    """One broker, kill -9 in the middle: consumer, Faust, table and producer come back by themselves."""
    topic, num = await make_topic(bus, num_partitions=2), 300
    seen, faust_seen, rows = Seen(), Seen(), set[bytes | None]()
    producer = bus.producer()
    parts = (
        bus.consumer("bare", [topic], unique("group"), seen),
        bus.pipeline("faust", [topic], unique("group"), faust_seen),
        bus.table("table", topic, lambda record: rows.add(record.value)),
    )
    async with running(producer, *parts):
        await send(bus, topic, b"warm")
        await seen.until(1)
        await faust_seen.until(1)
        sending = asyncio.create_task(_send_slowly(producer, topic, num, refusals_allowed=True))
        await asyncio.sleep(0.5)
        await asyncio.to_thread(kafka.kill)
        await asyncio.sleep(1.0)
        await asyncio.to_thread(kafka.start)
        await sending
        await eventually(lambda: set(_numbers(seen)) == set(range(num)), REJOINS_WITHIN_S)
        await eventually(lambda: set(_numbers(faust_seen)) == set(range(num)), REJOINS_WITHIN_S)
        await eventually(lambda: len(rows) == num + 1, REJOINS_WITHIN_S)
        assert health.is_alive()
        assert health.is_ready()


async def test_a_broker_that_is_away_for_good_does_not_hold_up_a_stop(tmp_path: Path) -> None:
    """Crash of Kafka, then SIGTERM to the service: it ends within its deadline."""
    port, controller_port = free_ports(2)
    server = KafkaServer.alone(tmp_path / "kafka", port, controller_port)
    await asyncio.to_thread(server.start)
    try:
        bus = KafkaBus(server.address, zone="", instance="test", metrics=Metrics("test"), health=Health())
        topic, seen, crew = await make_topic(bus), Seen(), Crew()
        parts: list[Part] = [bus.producer(), bus.table("t", topic, lambda _: None)]
        parts += [reader(bus, kind, [topic], kind, seen) for kind in READERS]
        tasks = await crew.open()
        for part in parts:
            await part.start(tasks)
        await send(bus, topic, b"a")
        await seen.until(2)
        await asyncio.to_thread(server.kill)
        began_s = time.monotonic()
        for part in reversed(parts):
            await part.stop(Deadline.after(3.0))
        await crew.close()
        assert time.monotonic() - began_s < 16.0
    finally:
        await asyncio.to_thread(server.stop)


async def _send_slowly(producer: Producer, topic: Topic, num: int, *, refusals_allowed: bool = False) -> None:
    for number in range(num):
        while True:
            try:
                await producer.send(topic, b"%d" % number, partition=number % topic.num_partitions)
                break
            except Unavailable:
                assert refusals_allowed
                await asyncio.sleep(0.2)
        await asyncio.sleep(0.005)


def _numbers(seen: Seen) -> list[int]:
    return [int(value) for value in seen.values() if value is not None and value != b"warm"]


def _is_in_order(records: Sequence[Record]) -> bool:
    last: dict[int, int] = {}
    for record in records:
        if record.offset < last.get(record.partition, -1):
            return False
        last[record.partition] = record.offset
    return True
