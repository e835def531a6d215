"""The real Kafka keeps the promises of the contract, and gets over members and brokers that go."""

import pytest

from chassis.health import Health
from chassis.kafka.bus import KafkaBus
from chassis.metrics import Metrics
from chassis.tests.contract_bus import BusContract
from corkboard.local.kafka_server import KafkaServer

pytestmark = [pytest.mark.servers]


@pytest.fixture
def health() -> Health:
    return Health()


@pytest.fixture
def bus(kafka: KafkaServer, health: Health) -> KafkaBus:
    return KafkaBus(kafka.address, zone="local", instance="test", metrics=Metrics("test"), health=health)


class TestKafkaBus(BusContract):
    """On a broker."""
