"""The bus of a job that runs once and ends."""

import socket

from chassis.clock import SYSTEM_CLOCK
from chassis.health import Health
from chassis.kafka.bus import KafkaBus
from chassis.kafka.security import KafkaSecurity
from chassis.metrics import Metrics


def offline_bus(bootstrap: str, name: str) -> KafkaBus:
    """A Kafka bus with its own, unscraped metrics."""
    return KafkaBus(
        bootstrap,
        zone="local",
        instance=f"{name}-{socket.gethostname()}",
        metrics=Metrics(name),
        health=Health(),
        clock=SYSTEM_CLOCK,
        security=KafkaSecurity.of_environment(),
    )
