"""One running Corkboard for all journeys: small world, trained models."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.house import House, claimed_port_base

TEST_TIMEOUT_S = 60.0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test's time does not count the house it waits for, whose own steps have limits."""
    for item in items:
        if item.path.parent == Path(__file__).parent and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(TEST_TIMEOUT_S, func_only=True))


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Seven services on a real Kafka and a real Valkey, a seeded world, released models."""
    with claimed_port_base() as port_base:
        house = House(Path(tmp_path_factory.mktemp("house")), port_base)
        house.up()
        try:
            house.command("world", "--pins", "600", "--people", "60", "--json")
            house.command("train", "all", "--json", timeout_s=240.0)
            yield house
        finally:
            house.down()
