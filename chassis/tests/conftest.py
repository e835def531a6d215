"""A real Kafka for the tests marked `servers`: one broker for all of them."""

import socket
from collections.abc import Iterator

import pytest

from corkboard.local.kafka_server import KafkaServer


def free_ports(num: int) -> list[int]:
    """Ports that were free a moment ago."""
    probes = [socket.socket() for _ in range(num)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    """One running broker; a test that kills it starts it again."""
    port, controller_port = free_ports(2)
    server = KafkaServer.alone(tmp_path_factory.mktemp("servers") / "kafka", port, controller_port)
    try:
        server.start()
        yield server
    finally:
        server.stop()
