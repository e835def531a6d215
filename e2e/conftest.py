"""One running Corkboard for all journeys: small world, trained models."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.house import House

PORT_BASE = 27100


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Seven services on a real Kafka and a real Valkey, a seeded world, released models."""
    house = House(Path(tmp_path_factory.mktemp("house")), PORT_BASE)
    house.up()
    try:
        house.command("world", "--pins", "600", "--people", "60", "--json")
        house.command("train", "all", "--json", timeout_s=240.0)
        yield house
    finally:
        house.down()
