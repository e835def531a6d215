"""The use cases of enrich over in-memory ports."""

from collections.abc import Mapping

import numpy as np
import pytest

from chassis.clock import SYSTEM_CLOCK, Clock
from chassis.errors import Corrupt, Invalid, Unavailable
from chassis.health import Health
from protos import topics
from protos.event_schema import ACCEPTED
from protos.pins.v1 import pins_pb2
from protos.tensors import numpy_to_tensor
from sequences.definitions.columns import enriched_schema
from sequences.definitions.definitions import Definitions, assemble
from sequences.definitions.enrichment import Column, Enrichment
from sequences.definitions.testing import repository_definitions
from sequences.engine.lookup import CachedLookup, NoLookups
from sequences.engine.observer import SilentObserver
from sequences.engine.residual_quantiser import ResidualQuantiser
from sequences.testing import events_batch
from services.enrich.app.engines import Engines
from services.enrich.app.enrich_events import EnrichEvents, Envelope
from services.enrich.app.enrich_pins import EnrichPins
from services.enrich.app.preview_event import PreviewEvent
from services.enrich.domain.pin import PublishedPin
from services.enrich.inbound.messages import to_pin, to_preview
from services.enrich.outbound.kafka_enriched_pins import to_message
from services.enrich.tests.fakes import InMemoryEnrichedEvents, InMemoryEnrichedPins, InMemoryParking


class World:
    """The use cases with their fakes."""

    def __init__(self, definitions: Definitions | None = None, clock: Clock = SYSTEM_CLOCK) -> None:
        self.health = Health()
        self.engines = Engines(CachedLookup(NoLookups()), SilentObserver(), self.health)
        if definitions is not None:
            self.engines.use(definitions)
        self.events = InMemoryEnrichedEvents()
        self.pins = InMemoryEnrichedPins()
        self.parking = InMemoryParking()
        self.enrich_events = EnrichEvents(self.engines, self.events, self.parking, clock)
        self.enrich_pins = EnrichPins(self.engines, self.pins, self.parking, SYSTEM_CLOCK)
        self.preview = PreviewEvent(self.engines, SYSTEM_CLOCK)


@pytest.fixture
def world() -> World:
    return World(repository_definitions())


def pin(pin_id: str, **fields: object) -> PublishedPin:
    return to_pin(pins_pb2.Pin(pin_id=pin_id, **fields).SerializeToString())  # type: ignore[arg-type]


def envelope(partition: int, *events: Mapping[str, object]) -> Envelope:
    return Envelope(partition, events_batch(events))


async def test_rows_of_several_partitions_leave_on_the_one_they_came_from(world: World) -> None:
    bot: dict[str, object] = {"event_id": "bot", "user_id": "bot-1"}
    given = [
        envelope(4, {"event_id": "a"}, {"event_id": "b"}),
        envelope(1, bot, {"event_id": "c"}),
        envelope(4, {"event_id": "d"}),
    ]
    await world.enrich_events(given)
    found = {partition: batch.column("event_id").to_pylist() for partition, batch in world.events.envelopes}
    assert found == {1: ["c"], 4: ["a", "b", "d"]}


async def test_small_envelopes_leave_as_one_with_the_declared_columns(world: World) -> None:
    await world.enrich_events([envelope(3, {"event_id": "a"}), envelope(3, {"event_id": "b"})])
    [(partition, batch)] = world.events.envelopes
    assert partition == 3
    assert batch.schema.equals(enriched_schema(repository_definitions()))
    assert batch.column("event_id").to_pylist() == ["a", "b"]
    assert set(batch.column("definitions_version").to_pylist()) == {repository_definitions().version}


async def test_poison_rows_are_parked_and_the_others_go_on(world: World) -> None:
    rows: list[dict[str, object]] = [
        {"event_id": "good"},
        {"event_id": "bad", "attributes": b"\xff\x00"},
        {"event_id": "odd", "event_type": "rating"},
        {"event_id": "bot", "user_id": "bot-1"},
    ]
    await world.enrich_events([envelope(1, *rows[:2]), envelope(2, *rows[2:])])
    assert world.events.envelopes[0][1].column("event_id").to_pylist() == ["good"]
    assert [event_id for event_id, _ in world.parking.rows] == ["bad", "odd"]


async def test_an_envelope_with_nothing_left_is_not_published(world: World) -> None:
    await world.enrich_events([Envelope(0, events_batch([{"user_id": "bot-1"}]))])
    assert world.events.envelopes == []


async def test_wrong_columns_are_invalid_and_an_outage_is_raised(world: World) -> None:
    with pytest.raises(Invalid):
        await world.enrich_events([Envelope(0, events_batch([{}]).drop_columns(["pin_id"]))])
    world.events.is_away = True
    with pytest.raises(Unavailable):
        await world.enrich_events([Envelope(0, events_batch([{}]))])


async def test_nothing_is_done_before_the_first_bundle() -> None:
    world = World()
    assert not world.health.is_ready()
    for call in (
        world.enrich_events([Envelope(0, events_batch([{}]))]),
        world.enrich_pins([pin("p")]),
        world.preview(events_batch([{}])),
    ):
        with pytest.raises(Unavailable):
            await call
    world.engines.use(repository_definitions())
    assert world.health.is_ready()


async def test_new_definitions_change_the_columns_and_broken_ones_change_nothing(world: World) -> None:
    hashed = Enrichment(
        name="hashed",
        owner="t",
        executor="hash_ids",
        reads=("pin_id",),
        writes=(Column(name="pin_hash", type="int64"),),
    )
    with pytest.raises(Invalid):
        world.engines.use(assemble([hashed.model_copy(update={"executor": "gone"})]))
    assert world.engines.current.version == repository_definitions().version
    world.engines.use(assemble([hashed, *repository_definitions().events.values()]))
    await world.enrich_events([Envelope(0, events_batch([{}]))])
    assert "pin_hash" in world.events.envelopes[0][1].schema.names


async def test_pins_get_vectors_and_tombstones_pass(world: World) -> None:
    await world.enrich_pins([pin("a", title="Chair", topics=["art"], link="https://shop.example/"), "gone", pin("b")])
    changes = dict(world.pins.changes)
    assert changes["gone"] is None
    chair = changes["a"]
    assert chair is not None
    assert len(chair.content_vector) == 64
    assert chair.content_vector_version == "hashing-v1-d64"
    assert chair.quality_score == pytest.approx(0.6 * 0.5 + 0.4 * 3 / 5)


async def test_semantic_ids_go_with_the_pins_that_have_them(world: World) -> None:
    codes = Enrichment(
        name="codes",
        owner="t",
        subject="pin",
        executor="semantic_id",
        reads=("content_vector",),
        parameters={"codebooks": ResidualQuantiser((4096 * np.eye(2, 64)[None]).astype(np.int16)).to_text()},
        writes=(Column(name="semantic_id", type="list<int32>"),),
    )
    every = repository_definitions()
    world.engines.use(every.model_copy(update={"enrichments": {**every.enrichments, "codes": codes}, "version": "v"}))
    await world.enrich_pins([pin("a", given_vector=numpy_to_tensor(np.eye(2, 64, dtype=np.float32)[1]))])
    [(_, found)] = world.pins.changes
    assert found is not None and list(found.semantic_id) == [1]
    assert list(to_message(found).semantic_id) == [1]


async def test_versions_of_one_pin_keep_their_order(world: World) -> None:
    await world.enrich_pins([pin("a", title="one"), "a", pin("a", title="two")])
    assert [None if each is None else each.published.title for _, each in world.pins.changes] == ["one", None, "two"]


async def test_a_pin_with_a_broken_picture_is_parked_with_its_bytes(world: World) -> None:
    broken = pin("a", image=b"no picture")
    await world.enrich_pins([broken, pin("b")])
    assert [(pin_id, payload) for pin_id, payload, _ in world.parking.pins] == [("a", broken.payload)]
    assert [pin_id for pin_id, _ in world.pins.changes] == ["b"]


def test_unreadable_pins_are_refused() -> None:
    with pytest.raises(Corrupt):
        to_pin(b"\xff\xff")
    with pytest.raises(Invalid):
        to_pin(pins_pb2.Pin(title="no id").SerializeToString())


async def test_a_preview_says_what_ran_and_what_filtered(world: World) -> None:
    event = events_batch([{"event_type": "long_view", "attributes": b'{"dwell_s":0.1}'}])
    answer = to_preview(await world.preview(event))
    assert (answer.is_kept, answer.filtered_by) == (False, "min_dwell")
    assert [run.enrichment for run in answer.runs] == ["drop_bots", "attributes", "min_dwell"]
    assert answer.runs[-1].failure == "filtered"
    failed = to_preview(await world.preview(events_batch([{"event_type": "rating"}])))
    assert not failed.is_kept
    assert "missing_field" in failed.runs[-1].failure


def test_accepted_and_enriched_envelopes_have_as_many_partitions() -> None:
    assert topics.EVENTS_ACCEPTED.num_partitions == topics.EVENTS_ENRICHED.num_partitions
    assert ACCEPTED.names[0] == "event_id"
