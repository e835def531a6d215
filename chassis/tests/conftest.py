"""A real Kafka for the tests marked `servers`: one broker for all of them."""

from collections.abc import Iterator

import pytest

from chassis.testing.ports import free_ports
from corkboard.local.kafka_server import KafkaServer


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
