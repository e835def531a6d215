"""A start while Kafka is away: the last-good copy serves, named as stale, until the topic says what is true."""

from pathlib import Path

import pytest

from chassis.testing import InMemoryBus, eventually
from services.cg.inbound import live_pins
from services.cg.outbound.numpy_pin_copies import FILE
from services.cg.tests.running_cg import Running, running_cg
from services.cg.tests.world import NUM_PINS, pin, pin_id


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_pins, "RETRY_S", 0.05)
    monkeypatch.setattr("chassis.bundles.watcher.CATCH_UP_S", 0.05)
    monkeypatch.setattr("chassis.bundles.watcher.RETRY_S", 0.05)


async def _ids(cg: Running) -> set[str]:
    response = await cg.retrieve(generators=["fresh"], num_candidates=200)
    return {candidate.pin_id for candidate in response.candidates}


async def test_a_copy_serves_as_stale_and_the_topic_corrects_it_when_it_is_back(tmp_path: Path) -> None:
    bus = InMemoryBus()
    async with running_cg(tmp_path, bus=bus) as cg:
        await eventually(lambda: _has(cg, NUM_PINS))
    assert (tmp_path / "state" / FILE).is_file(), "a stop leaves a copy"
    async with running_cg(tmp_path, bus=_without(bus, pin_id(7)), num_pins=0) as cg:
        cg.bus.is_available = False  # too late for the start: this one only shows that the world is the same
        await eventually(lambda: _has(cg, NUM_PINS - 1))
    away = _without(bus, pin_id(8))
    away.is_available = False
    async with running_cg(tmp_path, bus=away, num_pins=0) as cg:
        await eventually(lambda: _has(cg, NUM_PINS - 1))
        health = cg.service.health
        await eventually(lambda: live_pins.STALE in health.report().values())
        assert health.is_ready(), health.report()
        cg.publish(pin(500))
        away.is_available = True
        await eventually(lambda: _is(cg, {pin_id(number) for number in [*range(NUM_PINS), 500] if number != 8}))
        await eventually(lambda: live_pins.STALE not in health.report().values())


async def test_without_a_copy_the_start_waits_unready(tmp_path: Path) -> None:
    bus = InMemoryBus()
    bus.is_available = False
    async with running_cg(tmp_path, bus=bus) as cg:
        assert not cg.service.health.is_ready()
        bus.is_available = True
        await eventually(lambda: cg.service.health.is_ready())
        assert len(await _ids(cg)) == NUM_PINS


async def _has(cg: Running, count: int) -> bool:
    return len(await _ids(cg)) == count


async def _is(cg: Running, expected: set[str]) -> bool:
    return await _ids(cg) == expected


def _without(bus: InMemoryBus, name: str) -> InMemoryBus:
    """The same topics after compaction took a pin and its tombstone away."""
    other = InMemoryBus()
    for spot, log in bus.logs.items():
        other.logs[spot] = [record for record in log if record.key != name.encode()]
    return other
