"""The audit finds what can be read, misses what cannot, and excuses what the definitions leave out."""

import json
import threading
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pytest

from chassis.errors import Unavailable
from chassis.health import Health
from chassis.kafka import arrow
from chassis.kafka.record import Record
from chassis.metrics import Metrics
from chassis.testing import FakeClock, InMemoryBus
from protos import event_schema, topics
from sequences.definitions.definitions import Definitions
from sequences.testing import run
from services.indexer.app.active_definitions import ActiveDefinitions
from services.indexer.app.audit_sequences import MAX_CHOSEN, NUM_NEAR, AuditSequences
from services.indexer.app.quality_board import QualityBoard
from services.indexer.domain.audit import AUDITS_PER_S, FIRST_LOOK_MS, LAST_LOOK_MS, MAX_PENDING, SampleRate
from services.indexer.domain.completeness import HOUR_MS, Completeness, CompletenessRatio
from services.indexer.inbound.kafka_accepted import AcceptedConsumer
from services.indexer.tests.in_memory_stores import InMemorySequenceStore, InMemoryState
from services.indexer.tests.samples import definitions

START_MS = 1_750_000_000_000 // HOUR_MS * HOUR_MS


def accepted(*events: dict[str, Any]) -> pa.RecordBatch:
    """An accepted envelope; each event happened 100 ms before START_MS, and was received then."""
    defaults = {
        "user_id": "user-1",
        "event_type": "save",
        "event_time_ms": START_MS - 100,
        "received_time_ms": START_MS,
        "pin_id": "pin-1",
        "surface": "home",
        "request_id": "",
        "traceparent": "",
        "attributes": b"",
    }
    return pa.RecordBatch.from_pylist([defaults | event for event in events], schema=event_schema.ACCEPTED)


@dataclass
class World:
    """An audit of a store in memory."""

    clock: FakeClock
    state: InMemoryState
    store: InMemorySequenceStore
    definitions: ActiveDefinitions
    board: QualityBoard
    metrics: Metrics
    audit: AuditSequences

    async def index(self, envelope: pa.RecordBatch) -> None:
        """What enrich and the online consumer do with an envelope."""
        enriched = run_engine(self.definitions.current, envelope)
        await self.store.append(self.definitions.routing.route(enriched, self.clock.now_ms()))

    async def look_after(self, wait_ms: int = FIRST_LOOK_MS) -> None:
        self.clock.advance(wait_ms / 1000)
        await self.audit.look()

    def ratio(self, sequence: str = "engagement") -> CompletenessRatio:
        return self.board.of(sequence).completeness.ratio(self.clock.now_ms())

    def outcomes(self, sequence: str = "engagement") -> dict[str, float]:
        names = ("found", "missing", "trimmed", "lost", "skipped", "filtered")
        values = {
            name: self.metrics.registry.get_sample_value(
                "sequence_audits_total", {"sequence": sequence, "outcome": name}
            )
            for name in names
        }
        return {name: value for name, value in values.items() if value}


def run_engine(known: Definitions, envelope: pa.RecordBatch) -> pa.RecordBatch:
    found: list[pa.RecordBatch] = []
    thread = threading.Thread(target=lambda: found.append(run(known, envelope).batch))  # a loop of its own
    thread.start()
    thread.join()
    return found[0]


def world_of(max_events: int = 2048) -> World:
    clock = FakeClock(START_MS)
    state, board, metrics = InMemoryState(clock), QualityBoard(), Metrics("test")
    store, active = InMemorySequenceStore(state), ActiveDefinitions(Health())
    active.use(definitions(max_events))
    audit = AuditSequences(active, store, board, clock, metrics)
    return World(clock, state, store, active, board, metrics, audit)


@pytest.fixture
def world() -> World:
    return world_of()


async def test_events_that_can_be_read_are_complete(world: World) -> None:
    envelope = accepted({"event_id": "a"}, {"event_id": "b", "user_id": "user-2"})
    world.audit.take(envelope)
    await world.index(envelope)
    await world.audit.look()
    assert world.ratio() == CompletenessRatio(1.0, 0)  # not looked for yet
    await world.look_after()
    assert world.ratio() == CompletenessRatio(1.0, 2)


async def test_an_event_that_is_not_there_is_missing_until_it_is(world: World) -> None:
    lost, kept = accepted({"event_id": "lost"}), accepted({"event_id": "kept"})
    world.audit.take(lost)
    world.audit.take(kept)
    await world.index(kept)
    await world.look_after()
    assert world.ratio() == CompletenessRatio(0.5, 2)
    await world.look_after(2 * FIRST_LOOK_MS)
    assert world.ratio() == CompletenessRatio(0.5, 2)  # the same event again is no second miss
    await world.index(lost)
    await world.look_after(4 * FIRST_LOOK_MS)
    assert world.ratio() == CompletenessRatio(1.0, 2)
    assert world.outcomes() == {"found": 2, "missing": 2}


async def test_an_event_that_never_comes_is_lost_in_the_end(world: World) -> None:
    world.audit.take(accepted({"event_id": "lost"}))
    wait_ms = FIRST_LOOK_MS
    while wait_ms <= LAST_LOOK_MS:
        await world.look_after(wait_ms)
        wait_ms *= 2
    assert world.outcomes()["lost"] == 1
    assert [(each.num_audited, each.num_readable) for each in world.board.of("engagement").completeness.hours()] == [
        (1, 0)
    ]


async def test_what_a_named_filter_removes_is_not_expected(world: World) -> None:
    glance = {"event_type": "long_view", "attributes": json.dumps({"dwell_s": 0.2}).encode()}
    world.audit.take(accepted({"event_id": "bot", "user_id": "bot-1"}, {"event_id": "glance", **glance}))
    await world.look_after()
    assert world.ratio() == CompletenessRatio(1.0, 0)
    assert world.outcomes("") == {"filtered": 2}


async def test_what_cannot_be_enriched_is_expected_and_missing(world: World) -> None:
    broken = {"event_type": "long_view", "attributes": b'{"dwell_s": "long"}'}
    world.audit.take(accepted({"event_id": "parked", **broken}, {"event_id": "view", "event_type": "impression"}))
    await world.look_after()
    assert world.ratio() == CompletenessRatio(0.0, 1)
    assert world.ratio("negative") == CompletenessRatio(1.0, 0)


async def test_what_the_limits_of_the_sequence_leave_out_is_excused() -> None:
    world = world_of(max_events=2)
    old = accepted({"event_id": "old", "event_time_ms": START_MS - 9_000})
    world.audit.take(old)
    await world.index(accepted({"event_id": "n1"}, {"event_id": "n2"}))
    await world.look_after()
    assert world.outcomes() == {"trimmed": 1}
    assert world.ratio() == CompletenessRatio(1.0, 0)


async def test_a_store_that_is_away_loses_no_audit(world: World) -> None:
    envelope = accepted({"event_id": "a"})
    world.audit.take(envelope)
    await world.index(envelope)
    world.state.is_away = True
    with pytest.raises(Unavailable):
        await world.look_after()
    world.state.is_away = False
    await world.look_after()
    assert world.ratio() == CompletenessRatio(1.0, 1)


async def test_memory_is_bounded(world: World) -> None:
    for _ in range(3):
        world.audit.take(accepted(*({"event_id": f"event-{number}"} for number in range(500))))
    assert world.outcomes("") == {"skipped": 3 * 500 - MAX_CHOSEN}
    for _ in range(MAX_PENDING // MAX_CHOSEN):
        await world.audit.look()
        world.audit.take(accepted(*({"event_id": f"event-{number}"} for number in range(MAX_CHOSEN))))
    await world.audit.look()
    assert world.outcomes() == {"skipped": MAX_CHOSEN}


def test_about_as_many_are_chosen_as_can_be_afforded() -> None:
    rate = SampleRate()
    envelopes = [[f"event-{offset}-{place}" for place in range(5)] for offset in range(20_000)]

    def chosen() -> list[tuple[int, int]]:
        found = []
        for offset, ids in enumerate(envelopes):
            if rate.opens(0, offset):
                found += [(offset, row) for row in rate.choose(ids).tolist()]
        return found

    assert len(chosen()) == 100_000  # nothing is known yet
    rate.adapt(50.0)  # 2,000 in a second
    assert rate.share == AUDITS_PER_S / 2_000
    first = chosen()
    assert 850 < len(first) < 1_150
    assert len({offset for offset, _ in first}) > len(first) / 2  # not a few envelopes whole
    assert sum(rate.opens(0, offset) for offset in range(20_000)) < 0.1 * 20_000
    rate.adapt(50.0)
    assert 0.8 < rate.share / (AUDITS_PER_S / 2_000) < 1.25  # from the opened ones alone
    rate.adapt(10_000_000.0)
    assert len(chosen()) == 100_000


async def test_an_event_behind_many_newer_ones_is_found(world: World) -> None:
    old = accepted({"event_id": "old", "event_time_ms": START_MS - 9_000})
    world.audit.take(old)
    await world.index(old)
    await world.index(accepted(*({"event_id": f"event-{number}"} for number in range(3 * NUM_NEAR))))
    await world.look_after()
    assert world.outcomes() == {"found": 1}


def test_the_last_closed_hour_counts() -> None:
    completeness = Completeness()
    completeness.missed(START_MS)
    completeness.found(START_MS + 1, was_missing=False)
    completeness.found(START_MS + HOUR_MS, was_missing=False)
    assert completeness.ratio(START_MS) == CompletenessRatio(0.5, 2)
    assert completeness.ratio(START_MS + HOUR_MS) == CompletenessRatio(0.5, 2)
    assert completeness.ratio(START_MS + 2 * HOUR_MS) == CompletenessRatio(1.0, 1)
    assert completeness.ratio(START_MS + 4 * HOUR_MS) == CompletenessRatio(1.0, 0)
    completeness.found(START_MS + 30 * HOUR_MS, was_missing=False)
    assert len(completeness.hours()) == 1  # a day is kept


async def test_an_accepted_envelope_that_cannot_be_read_is_skipped_and_counted(world: World) -> None:
    consumer = AcceptedConsumer(world.audit, InMemoryBus(), world.metrics)
    good, wrong = arrow.encode(accepted({"event_id": "a"})), arrow.encode(pa.record_batch({"x": [1]}))
    values = (b"\xff poison", wrong, good)
    name = topics.EVENTS_ACCEPTED.name
    await consumer.handle([Record(name, 0, offset, b"", value, {}, 0) for offset, value in enumerate(values)])
    skipped = [
        world.metrics.registry.get_sample_value("sequence_audit_envelopes_skipped_total", {"reason": reason})
        for reason in ("bad_envelope", "bad_schema")
    ]
    assert skipped == [1, 1]
    await world.look_after()
    assert world.ratio().num_audited == 1
