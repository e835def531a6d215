"""An event whose type is not known yet waits for the definitions that name it, and not for ever."""

import asyncio
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from chassis.errors import Invalid, Unavailable
from chassis.testing import FakeClock, InMemoryBus, eventually
from protos import topics
from sequences.definitions.definitions import Definitions, assemble
from sequences.definitions.event_type import EventType
from sequences.definitions.testing import repository_definitions
from sequences.testing import InMemoryLookup, events_batch
from services.enrich.app.enrich_events import Envelope
from services.enrich.app.unknown_types import MAX_TYPES, WAIT_S
from services.enrich.tests.test_app import World, envelope
from services.enrich.tests.test_service import accept, enriched, release, serving

OLD = repository_definitions()
ODD = {"event_id": "odd", "event_type": "purchase"}


def with_purchases() -> Definitions:
    kinds: list[dict[str, Any]] = [OLD.events, OLD.enrichments, OLD.sequences, OLD.surfaces, OLD.spacing]
    return assemble([EventType(name="purchase", owner="t"), *(each for kind in kinds for each in kind.values())])


async def test_a_new_type_is_held_back_until_its_definitions_come() -> None:
    world = World(OLD, FakeClock())
    for _ in range(3):
        with pytest.raises(Unavailable, match="purchase"):
            await world.enrich_events([envelope(0, {"event_id": "a"}), envelope(1, ODD)])
    assert (world.events.envelopes, world.parking.rows) == ([], [])
    world.engines.use(with_purchases())
    await world.enrich_events([envelope(0, {"event_id": "a"}), envelope(1, ODD)])
    assert world.parking.rows == []
    assert {batch.column("event_id").to_pylist()[0] for _, batch in world.events.envelopes} == {"a", "odd"}


async def test_a_type_that_nobody_names_is_parked_after_the_wait_and_then_at_once() -> None:
    clock = FakeClock()
    world = World(OLD, clock)
    with pytest.raises(Unavailable):
        await world.enrich_events([envelope(0, ODD)])
    clock.advance(WAIT_S - 0.1)
    with pytest.raises(Unavailable):
        await world.enrich_events([envelope(0, ODD)])
    clock.advance(0.2)
    for _ in range(2):
        await world.enrich_events([envelope(0, ODD, {"event_id": "good"})])
    assert world.parking.rows == [("odd", "unknown event type 'purchase'")] * 2
    assert [batch.column("event_id").to_pylist() for _, batch in world.events.envelopes] == [["good"]] * 2


async def test_invented_types_are_waited_for_up_to_a_limit() -> None:
    world = World(OLD, FakeClock())
    rows = [{"event_id": str(number), "event_type": f"invented-{number}"} for number in range(MAX_TYPES)]
    with pytest.raises(Unavailable):
        await world.enrich_events([envelope(0, *rows)])
    await world.enrich_events([envelope(0, ODD)])
    assert [event_id for event_id, _ in world.parking.rows] == ["odd"]


async def test_a_batch_without_the_column_is_for_the_engine_to_refuse() -> None:
    world = World(OLD, FakeClock())
    lists = pa.array([["click"]])
    for batch in (pa.record_batch({"x": [1]}), events_batch([{}]).set_column(2, "event_type", lists)):
        with pytest.raises(Invalid, match="must be string"):
            await world.enrich_events([Envelope(0, batch)])


async def test_partitions_go_on_beside_one_that_waits(tmp_path: Path) -> None:
    bus = InMemoryBus()
    release(bus, tmp_path, OLD)
    accept(bus, 3, ODD)
    accept(bus, 1, {"event_id": "a"})
    async with serving(bus, tmp_path, InMemoryLookup({})):
        await eventually(lambda: [row["event_id"] for row in enriched(bus)] == ["a"], within_s=5)
        await asyncio.to_thread(release, bus, tmp_path, with_purchases())
        await eventually(lambda: {row["event_id"] for row in enriched(bus)} == {"a", "odd"}, within_s=10)
        assert bus.records(topics.EVENTS_ACCEPTED.parked) == []
