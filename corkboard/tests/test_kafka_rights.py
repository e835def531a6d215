"""A real Kafka that asks who comes: our clients over TLS with a certificate or a password, and rights by the table."""

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError, TopicAuthorizationFailedError

from chassis.errors import Invalid, Unavailable
from chassis.health import Health
from chassis.kafka.bus import KafkaBus, Record
from chassis.kafka.connection import Connection, connect, disconnect
from chassis.kafka.security import PLAINTEXT, KafkaSecurity
from chassis.kafka.topic import Topic
from chassis.metrics import Metrics
from chassis.testing import eventually
from chassis.tests.contract_bus import reader
from chassis.tests.lives import started
from corkboard.tests.secured_kafka import SecuredKafka
from protos import topics
from protos.kafka_rights import Right, identities, rights_of
from scripts.access import every_topic

pytestmark = [pytest.mark.servers, pytest.mark.timeout(180)]
SEEN_BY_TEST = ("ingest", "enrich", "cg")
SEES_WITHIN_S = 20.0


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredKafka]:
    """With all topics, a password for everybody, and the rights of a few."""
    secured = SecuredKafka(tmp_path_factory.mktemp("secured"), identities())
    secured.server.start()
    try:
        asyncio.run(bus(secured.server.address, PLAINTEXT).ensure_topics(list(every_topic())))
        secured.allow(*SEEN_BY_TEST)
        yield secured
    finally:
        secured.server.stop()


def bus(address: str, security: KafkaSecurity, health: Health | None = None) -> KafkaBus:
    return KafkaBus(
        address, zone="", instance="test", metrics=Metrics("test"), health=health or Health(), security=security
    )


def ways(kafka: SecuredKafka, who: str) -> list[tuple[str, KafkaSecurity]]:
    """Both ways in."""
    return [(kafka.tls_address, kafka.by_certificate(who)), (kafka.sasl_address, kafka.by_password(who))]


async def is_written(one: KafkaBus, topic: Topic) -> bool:
    producer = one.producer()
    async with started(producer):
        try:
            await producer.send(topic, b"value", key=b"key")
        except Unavailable as error:
            assert isinstance(error.__cause__, TopicAuthorizationFailedError), error
            return False
    return True


async def is_read(address: str, security: KafkaSecurity, topic: Topic) -> bool:
    client = AIOKafkaConsumer(**Connection(address, "", "test", security=security).consumer("reader"))
    partition = TopicPartition(topic.name, 0)
    try:
        await connect(client)
        client.assign([partition])
        await client.seek_to_beginning(partition)
        async with asyncio.timeout(10.0):
            await client.getmany(partition, timeout_ms=200)
    except KafkaError as error:
        assert isinstance(error, TopicAuthorizationFailedError), error
        return False
    finally:
        await disconnect(client, 2.0)
    return True


async def test_cg_cannot_write_accepted_events_and_ingest_can(kafka: SecuredKafka) -> None:
    for address, security in ways(kafka, "cg"):
        assert not await is_written(bus(address, security), topics.EVENTS_ACCEPTED)
        assert await is_written(bus(address, security), topics.EMBEDDINGS_PUBLISHED)
    for address, security in ways(kafka, "ingest"):
        assert await is_written(bus(address, security), topics.EVENTS_ACCEPTED)
        assert not await is_read(address, security, topics.EVENTS_ACCEPTED)


@pytest.mark.parametrize("kind", ["consumer", "pipeline"])
async def test_a_member_of_a_group_reads_parks_and_commits(kafka: SecuredKafka, kind: str) -> None:
    """Bare aiokafka and Faust, each with a certificate and with a password."""
    for number, (address, security) in enumerate(ways(kafka, "enrich")):
        seen = list[Record]()

        async def handle(records: Sequence[Record], seen: list[Record] = seen) -> None:
            seen.extend(records)
            raise Invalid("poison")

        part = reader(bus(address, security), kind, [topics.PINS_PUBLISHED], f"enrich-{kind}-{number}", handle)
        parked = list[Record]()
        async with started(part, grace_s=8.0):
            writer = bus(kafka.tls_address, kafka.by_certificate("ingest"))
            assert await is_written(writer, topics.PINS_PUBLISHED)
            await eventually(lambda seen=seen: seen != [], SEES_WITHIN_S)  # type: ignore[misc]
            inside = bus(kafka.server.address, PLAINTEXT)
            table = inside.table("parked", topics.PINS_PUBLISHED.parked, parked.append)
            async with started(table):
                await eventually(lambda parked=parked: parked != [], SEES_WITHIN_S)  # type: ignore[misc]


async def test_a_table_is_read_without_a_group(kafka: SecuredKafka) -> None:
    found = list[Record]()
    for address, security in ways(kafka, "cg"):
        async with started(bus(address, security).table("rules", topics.QUOTA_RULES, found.append)):
            pass


async def test_a_foreign_group_is_refused_and_said(kafka: SecuredKafka) -> None:
    health = Health()

    async def handle(records: Sequence[Record]) -> None:
        raise AssertionError

    member = bus(*ways(kafka, "enrich")[0], health).consumer("reader", [topics.EVENTS_ACCEPTED], "indexer", handle)
    async with started(member, grace_s=8.0):
        await eventually(lambda: "GroupAuthorizationFailed" in health.report()["reader"], SEES_WITHIN_S)


async def test_a_topic_that_may_not_be_seen_is_named(kafka: SecuredKafka) -> None:
    health = Health()

    async def handle(records: Sequence[Record]) -> None:
        raise AssertionError

    member = bus(*ways(kafka, "cg")[1], health).consumer("reader", [topics.EVENTS_ACCEPTED], "cg-x", handle)
    async with started(member, grace_s=8.0):
        words = f"topics are missing, or may not be seen: {topics.EVENTS_ACCEPTED.name}"
        await eventually(lambda: health.report()["reader"] == words, SEES_WITHIN_S)


@pytest.mark.parametrize("trouble", ["wrong password", "no certificate", "foreign authority", "plaintext"])
async def test_who_cannot_prove_who_they_are_does_not_get_in(
    kafka: SecuredKafka, trouble: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("chassis.kafka.producer.ACK_WITHIN_S", 1.0)
    stranger = SecuredKafka(tmp_path / "other", [])
    address, security = {
        "wrong password": (kafka.sasl_address, kafka.by_password("ingest", "wrong")),
        "no certificate": (
            kafka.tls_address,
            KafkaSecurity(security_protocol="SSL", ca_path=kafka.by_certificate("ingest").ca_path),
        ),
        "foreign authority": (kafka.tls_address, stranger.by_certificate("ingest")),
        "plaintext": (kafka.tls_address, PLAINTEXT),
    }[trouble]
    producer = bus(address, security).producer()
    async with started(producer, grace_s=3.0):
        with pytest.raises(Unavailable):
            await producer.send(topics.EVENTS_ACCEPTED, b"value")
    kafka.by_password("ingest")


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_every_identity_may_do_exactly_what_follows_from_the_topics(kafka: SecuredKafka) -> None:
    await asyncio.to_thread(kafka.allow, *(set(identities()) - set(SEEN_BY_TEST)))
    inside = bus(kafka.server.address, PLAINTEXT).producer()
    async with started(inside):
        for topic in every_topic():
            await inside.send(topic, b"value", key=b"key", partition=0)
    found = {who: await done_by(kafka.tls_address, kafka.by_certificate(who)) for who in identities()}
    assert found == {who: expected_of(who) for who in identities()}


def expected_of(who: str) -> dict[str, tuple[bool, bool]]:
    """Topic -> may it be read, may it be written."""
    rights = [right for right in rights_of(who) if right.kind == "topic"]
    return {
        topic.name: (_has(rights, "Read", topic.name), _has(rights, "Write", topic.name)) for topic in every_topic()
    }


def _has(rights: Sequence[Right], operation: str, name: str) -> bool:
    of_kind = [right for right in rights if operation in right.operations]
    return any(name.startswith(right.name) if right.is_prefix else name == right.name for right in of_kind)


async def done_by(address: str, security: KafkaSecurity) -> dict[str, tuple[bool, bool]]:
    """What the broker lets this one do, tried over one connection of each kind."""
    connection = Connection(address, "", "test", security=security)
    consumer = AIOKafkaConsumer(**connection.consumer("reader"))
    producer = AIOKafkaProducer(**connection.client("writer"))
    try:
        await connect(consumer)
        await connect(producer)
        found = {}
        for topic in every_topic():
            found[topic.name] = (await _reads(consumer, topic.name), await _writes(producer, topic.name))
        return found
    finally:
        await disconnect(consumer, 2.0)
        await disconnect(producer, 2.0)


async def _reads(consumer: AIOKafkaConsumer, name: str) -> bool:
    partition = TopicPartition(name, 0)
    consumer.assign([partition])
    try:
        consumer.seek(partition, 0)
        return bool(await consumer.getmany(partition, timeout_ms=1_000))
    except TopicAuthorizationFailedError:
        return False


async def _writes(producer: AIOKafkaProducer, name: str) -> bool:
    try:
        await producer.send_and_wait(name, b"value", key=b"key", partition=0)
    except TopicAuthorizationFailedError:
        return False
    return True
