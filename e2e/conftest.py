"""One running Corkboard for all journeys: small world, trained models."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from e2e.house import House

PORT_BASES = range(27600, 32100, 500)  # below the ports that the kernel gives to clients
CLAIM_OFFSET = 499
TEST_TIMEOUT_S = 60.0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test's time does not count the house it waits for, whose own steps have limits."""
    for item in items:
        if item.path.parent == Path(__file__).parent and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(TEST_TIMEOUT_S, func_only=True))


@contextmanager
def claimed_port_base() -> Iterator[int]:
    """A base that no other run on this machine uses: its last port is held as long as the run lasts."""
    for base in PORT_BASES:
        with socket.socket() as claim:
            try:
                claim.bind(("127.0.0.1", base + CLAIM_OFFSET))
            except OSError:
                continue
            yield base
            return
    pytest.fail(f"{len(PORT_BASES)} runs of these tests seem to go on already: ports {PORT_BASES} are taken")


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
