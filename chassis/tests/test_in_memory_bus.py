"""The fake keeps Kafka's promises, and can be away."""

import pytest

from chassis.errors import Unavailable
from chassis.kafka.bus import Bus
from chassis.testing import InMemoryBus
from chassis.tests.contract_bus import BusContract, make_topic, running, send


@pytest.fixture
def bus() -> Bus:
    return InMemoryBus()


class TestInMemoryBus(BusContract):
    """In memory."""


async def test_a_bus_that_is_away_refuses_and_recovers() -> None:
    bus = InMemoryBus()
    topic = await make_topic(bus)
    bus.is_available = False
    with pytest.raises(Unavailable):
        await send(bus, topic, b"a")
    with pytest.raises(Unavailable):
        await bus.end_offsets([topic])
    with pytest.raises(Unavailable):
        async with running(bus.table("t", topic, lambda _: None)):
            pass
    bus.is_available = True
    await send(bus, topic, b"a")
    assert [record.value for record in bus.records(topic)] == [b"a"]
