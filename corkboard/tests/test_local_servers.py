"""Real servers from wheels: they start, keep their data, tell why they do not start, and stop."""

import asyncio
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from chassis.errors import Unavailable
from chassis.testing.ports import free_ports
from corkboard.local import kafka_server
from corkboard.local.kafka_server import KafkaCluster, KafkaServer
from corkboard.local.valkey_server import ValkeyServer

pytestmark = [pytest.mark.servers]


@pytest.fixture
def kafka(tmp_path: Path) -> Iterator[KafkaServer]:
    server = KafkaServer.alone(tmp_path / "kafka", *free_ports(2))
    yield server
    server.stop()


def command(port: int, *words: str) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
        connection.sendall((" ".join(words) + "\r\n").encode())
        return connection.recv(1024)


async def make_topic(bootstrap: str, name: str, replication: int) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, 1, replication)])
    finally:
        await admin.close()


async def send(bootstrap: str, topic: str, value: bytes) -> None:
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all") as producer:
        await producer.send_and_wait(topic, value)


async def read(bootstrap: str, topic: str, num: int, rack: str | None = None) -> list[bytes | None]:
    options = {"auto_offset_reset": "earliest", "group_id": "g", "enable_auto_commit": False, "client_rack": rack}
    async with AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, **options) as consumer:
        return [(await asyncio.wait_for(consumer.getone(), 20)).value for _ in range(num)]


def test_kafka_takes_group_members_when_it_has_started_and_keeps_its_data(kafka: KafkaServer) -> None:
    kafka.start()
    pid = kafka.pid or 0
    assert os.getsid(pid) == pid  # Ctrl-C in the terminal does not reach it
    asyncio.run(make_topic(kafka.address, "t", 1))
    asyncio.run(send(kafka.address, "t", b"a"))
    kafka.stop()
    assert not kafka.is_running()
    kafka.start()
    asyncio.run(send(kafka.address, "t", b"b"))
    kafka.kill()
    kafka.start()
    assert asyncio.run(read(kafka.address, "t", 2)) == [b"a", b"b"]


def test_kafka_that_cannot_start_says_why(kafka: KafkaServer, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", kafka._broker.port))
        taken.listen()
        monkeypatch.setattr(kafka_server, "READY_WITHIN_S", 30.0)
        with pytest.raises(Unavailable, match="Address already in use"):
            kafka.start()


def test_a_warm_start_does_not_resolve_the_jars_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jar = tmp_path / "a.jar"
    jar.touch()
    monkeypatch.setattr(kafka_server, "_resolve", lambda: [jar])
    assert kafka_server.class_path(tmp_path / "state") == str(jar)

    def refuse() -> list[object]:
        raise AssertionError("resolved again")

    monkeypatch.setattr(kafka_server, "_resolve", refuse)
    assert kafka_server.class_path(tmp_path / "state") == str(jar)
    jar.unlink()  # somebody cleaned the cache
    with pytest.raises(AssertionError, match="resolved again"):
        kafka_server.class_path(tmp_path / "state")


@pytest.mark.parametrize("text", ["", "{", '{"coordinates": 1}', json.dumps([])])
def test_a_damaged_memory_of_the_jars_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    jar = tmp_path / "a.jar"
    jar.touch()
    monkeypatch.setattr(kafka_server, "_resolve", lambda: [jar])
    (tmp_path / kafka_server.CLASS_PATH_FILE).write_text(text)
    assert kafka_server.class_path(tmp_path) == str(jar)


@pytest.mark.timeout(120)
def test_three_brokers_in_three_racks_survive_the_loss_of_one(tmp_path: Path) -> None:
    ports = free_ports(6)
    cluster = KafkaCluster(tmp_path, list(zip(ports[:3], ports[3:], strict=True)), ["az-a", "az-b", "az-c"])
    try:
        cluster.start()
        asyncio.run(make_topic(cluster.bootstrap, "t", 3))
        asyncio.run(send(cluster.bootstrap, "t", b"a"))
        cluster.servers[0].kill()
        asyncio.run(send(cluster.bootstrap, "t", b"b"))
        assert asyncio.run(read(cluster.bootstrap, "t", 2, "az-b")) == [b"a", b"b"]
    finally:
        cluster.stop()
    assert not any(server.is_running() for server in cluster.servers)


def test_valkey_answers_when_it_has_started_and_keeps_its_data(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    server = ValkeyServer(tmp_path, port)
    server.start()
    try:
        assert server.pid and os.getsid(server.pid) == server.pid
        assert command(port, "SET", "k", "v") == b"+OK\r\n"
        assert b"everysec" in command(port, "CONFIG", "GET", "appendfsync")
        assert b"127.0.0.1" in command(port, "CONFIG", "GET", "bind")
        server.stop()
        server.start()
        assert command(port, "GET", "k") == b"$1\r\nv\r\n"
    finally:
        server.stop()
    assert not server.is_running()


def test_a_full_valkey_lets_go_of_what_expires_first_and_of_nothing_that_stays(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    server = ValkeyServer(tmp_path, port)
    server.start()
    try:
        assert command(port, "CONFIG", "SET", "maxmemory", "4mb") == b"+OK\r\n"
        assert command(port, "SET", "sequence", "kept") == b"+OK\r\n"
        assert command(port, "SET", "explanation", "kept", "EX", "86400") == b"+OK\r\n"
        for number in range(400):
            assert command(port, "SET", f"session:{number}", 20_000 * "x", "EX", "900") == b"+OK\r\n"
        assert command(port, "MGET", "sequence", "explanation").count(b"kept") == 2
        assert command(port, "GET", "session:0") == b"$-1\r\n"
    finally:
        server.stop()


def test_valkey_that_cannot_start_says_why(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(Unavailable, match="Address already in use"):
            ValkeyServer(tmp_path, int(taken.getsockname()[1])).start()
