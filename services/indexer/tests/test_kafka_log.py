"""A stretch of a real topic by offsets: all of it, nothing after it, and what retention took is known."""

from collections.abc import Iterator

import pytest
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.structs import TopicPartition

from chassis.deadline import Deadline
from chassis.health import Health
from chassis.kafka.bus import KafkaBus
from chassis.kafka.topic import Topic
from chassis.lifecycle import Tasks
from chassis.metrics import Metrics
from chassis.testing.ports import free_ports
from corkboard.local.kafka_server import KafkaServer
from services.indexer.domain.rebuild_progress import Stretch
from services.indexer.outbound.kafka_log import KafkaLog

pytestmark = pytest.mark.servers
TOPIC = Topic(
    "log.test.v1", key="", value="", owner="indexer", consumers=("indexer",), num_partitions=3, retention_s=60
)


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    server = KafkaServer.alone(tmp_path_factory.mktemp("kafka") / "kafka", *free_ports(2))
    try:
        server.start()
        yield server
    finally:
        server.stop()


async def send(kafka: KafkaServer, numbers: range, partition: int) -> None:
    bus = KafkaBus(kafka.address, zone="", instance="t", metrics=Metrics("test"), health=Health())
    await bus.ensure_topics([TOPIC])
    producer = bus.producer()
    tasks = Tasks()
    async with tasks:
        await producer.start(tasks)
        for number in numbers:
            await producer.send(TOPIC, b"%d" % number, partition=partition)
        await producer.stop(Deadline.after(2.0))
        await tasks.end()


async def values(log: KafkaLog, stretches: list[Stretch]) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    async for records in log.read(TOPIC, stretches):
        found.setdefault(records[0].partition, []).extend(int(record.value or b"-1") for record in records)
    return found


async def test_a_stretch_begins_and_ends_where_it_should(kafka: KafkaServer) -> None:
    await send(kafka, range(1_200), 0)
    await send(kafka, range(10), 2)
    log = KafkaLog(kafka.address, "zone-a")
    stretches = await log.stretches(TOPIC, {0: 700, 1: 5})
    assert stretches == [Stretch(0, 700, 1_200), Stretch(1, 0, 0), Stretch(2, 0, 10)]  # 1 was made anew
    await send(kafka, range(1_200, 1_210), 0)
    assert await values(log, stretches) == {0: list(range(700, 1_200)), 2: list(range(10))}
    assert await values(log, [Stretch(0, 5, 5)]) == {}


async def test_what_retention_took_is_counted(kafka: KafkaServer) -> None:
    await send(kafka, range(10), 1)
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.address)
    await admin.start()
    try:
        await admin.delete_records({TopicPartition(TOPIC.name, 1): RecordsToDelete(before_offset=6)})
    finally:
        await admin.close()
    stretches = await KafkaLog(kafka.address, "").stretches(TOPIC, {1: 4})
    assert stretches[1] == Stretch(1, 6, 10, num_gone=2)
    assert await values(KafkaLog(kafka.address, ""), stretches[1:2]) == {1: [6, 7, 8, 9]}
