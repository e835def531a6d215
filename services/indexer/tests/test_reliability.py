"""What was said against what happened: counted once per shown pin when its window is over; a head that promises too
much is seen; a lake that is away or behind delays the count without making it wrong."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chassis.errors import NotFound, Unavailable
from chassis.kafka import arrow
from chassis.lifecycle import Service
from chassis.metrics import Metrics
from chassis.testing import FakeClock, InMemoryBus, eventually
from protos import topics
from protos.blender.v1 import blender_pb2
from services.indexer.app.measure_reliability import MAX_STEPS, MeasureReliability
from services.indexer.config import Config
from services.indexer.domain.lake_rows import FEED_COLUMNS, Covered, Table, dated
from services.indexer.domain.reliability import BINS, said_and_happened
from services.indexer.offline.served_outcomes import write_shown
from services.indexer.outbound.duckdb_labels import LABEL_BY_TYPE
from services.indexer.outbound.iceberg_lake import IcebergLake
from services.indexer.outbound.iceberg_outcomes import IcebergOutcomes
from services.indexer.tests.samples import NOW_MS, envelope, event
from services.indexer.wiring import build

WINDOW_S = 60.0
AFTER_MS = NOW_MS + 2 * int(WINDOW_S * 1_000)
NUM_FEEDS, PINS_PER_FEED = 250, 5
SERIES = ("examples", "expected", "observed")


def counted(metrics: Metrics) -> dict[tuple[str, str], dict[str, float]]:
    """(surface, head) -> the three counters, over all bins."""
    found: dict[tuple[str, str], dict[str, float]] = {}
    for family in metrics.registry.collect():
        for sample in family.samples:
            name = sample.name.removeprefix("ranker_reliability_").removesuffix("_total")
            if name in SERIES and "surface" in sample.labels:
                row = found.setdefault((sample.labels["surface"], sample.labels["head"]), dict.fromkeys(SERIES, 0.0))
                row[name] += sample.value
    return found


def shown(*rows: tuple[str, Mapping[str, float], str]) -> pa.Table:
    """Surface, probabilities and the label that came of each pin."""
    labels = {
        label: pa.array([happened == label for _, _, happened in rows], pa.bool_()) for label in LABEL_BY_TYPE.values()
    }
    columns = {
        "surface": pa.array([surface for surface, _, _ in rows], pa.string()),
        "score_by_head": pa.array([json.dumps(scores) for _, scores, _ in rows], pa.string()),
        "versions": pa.array(["{}"] * len(rows)),
    }
    return pa.table(columns | labels)


def test_counts_are_by_surface_head_and_probability() -> None:
    counts, num_bad = said_and_happened(
        shown(
            ("home", {"click": 0.2, "save": 0.001}, "clicked"),
            ("home", {"click": 0.25}, ""),
            ("home", {"click": 0.0}, "saved"),
            ("search", {"click": 1.0}, "clicked"),
        ),
        LABEL_BY_TYPE,
    )
    found = {(e.surface, e.head, e.bin): (e.num_examples, e.observed, round(e.expected, 9)) for e in counts}
    assert found == {
        ("home", "click", "0.3"): (2, 1, 0.45),
        ("home", "click", "0.001"): (1, 0, 0.0),
        ("home", "save", "0.001"): (1, 0, 0.001),
        ("search", "click", "1"): (1, 1, 1.0),
    }
    assert num_bad == 0 and {each.bin for each in counts} <= set(BINS)


def test_what_is_no_probability_is_counted_as_such() -> None:
    rows = shown(("home", {"click": float("nan"), "save": 1.5, "hide": -0.1, "dance": 0.5, "share": 0.5}, "shared"))
    counts, num_bad = said_and_happened(rows, LABEL_BY_TYPE)
    assert [(each.head, each.observed) for each in counts] == [("share", 1)]
    assert num_bad == 4


def served(number: int, scores: Mapping[str, float], time_ms: int = NOW_MS, **fields: Any) -> dict[str, Any]:
    row = {
        "request_id": f"r{number}",
        "user_id": f"user-{number}",
        "surface": "home",
        "served_time_ms": time_ms,
        "pin_id": "a",
        "position": 0,
        "score_by_head": json.dumps(scores),
        "versions": '{"model:ranker": "v1"}',
    }
    return row | fields


class Lake:
    """A real lake that a test fills, and the rounds over it."""

    def __init__(self, folder: Path, outcomes: Any = None) -> None:
        self.lake = IcebergLake(str(folder / "lake"))
        self.metrics = Metrics("test")
        self.rounds = MeasureReliability(
            outcomes or IcebergOutcomes(self.lake.reader()),
            LABEL_BY_TYPE,
            interval_s=30.0,
            window_s=WINDOW_S,
            clock=FakeClock(),
            metrics=self.metrics,
        )

    def fill(self, feeds: list[dict[str, Any]], events: list[dict[str, Any]], until_ms: int) -> None:
        tables = {
            Table.FEEDS: pa.Table.from_pylist(feeds, schema=FEED_COLUMNS),
            Table.EVENTS: pa.Table.from_batches([envelope(events)]),
        }
        for table, rows in tables.items():
            self.lake.coverage(table)
            self.lake.append(table, dated(rows, table), {0: Covered(1, until_ms)})


def acted(number: int, event_type: str, after_ms: int, **fields: Any) -> dict[str, Any]:
    time_ms = NOW_MS + after_ms
    values = {"event_time_ms": time_ms, "received_time_ms": time_ms, "pin_id": "a", "event_type": event_type}
    return event(number, user_id=f"user-{number}", **{**values, **fields})


async def test_a_pin_is_counted_once_when_its_window_is_over(tmp_path: Path) -> None:
    world, window_ms = Lake(tmp_path), int(WINDOW_S * 1_000)
    world.fill([served(1, {"click": 0.25}), served(2, {"click": 0.25})], [acted(1, "click", 500)], NOW_MS + 1_000)
    await world.rounds.round()
    assert counted(world.metrics) == {}, "people may still act"
    late = [acted(2, "click", window_ms - 1), acted(1, "save", window_ms + 1)]
    world.fill([served(3, {"click": 0.25}, NOW_MS + window_ms)], late, NOW_MS + window_ms + 1)
    for _ in range(3):
        await world.rounds.round()
    assert counted(world.metrics) == {("home", "click"): {"examples": 2, "expected": 0.5, "observed": 2}}


async def test_an_action_counts_for_the_request_it_names_and_an_event_that_came_twice_once(tmp_path: Path) -> None:
    world = Lake(tmp_path)
    twice = [acted(1, "click", 10, request_id="other")] * 2
    feeds = [served(1, {"click": 0.5}), served(1, {"click": 0.5}, request_id="other", surface="search")]
    world.fill(feeds, twice, NOW_MS)
    await world.rounds.round()
    world.fill([served(9, {}, AFTER_MS)], [acted(9, "click", AFTER_MS - NOW_MS)], AFTER_MS)
    await world.rounds.round()
    found = counted(world.metrics)
    assert found["home", "click"] == {"examples": 1, "expected": 0.5, "observed": 0}
    assert found["search", "click"] == {"examples": 1, "expected": 0.5, "observed": 1}


async def test_a_lake_that_is_behind_on_events_counts_nothing_yet(tmp_path: Path) -> None:
    """Feeds are there and their actions are not: it would look as if nobody had acted."""
    world = Lake(tmp_path)
    world.fill([served(1, {"click": 0.5})], [acted(1, "save", 10)], NOW_MS + 20)
    await world.rounds.round()
    feeds = dated(pa.Table.from_pylist([served(2, {}, AFTER_MS)], schema=FEED_COLUMNS), Table.FEEDS)
    world.lake.coverage(Table.FEEDS)
    world.lake.append(Table.FEEDS, feeds, {0: Covered(2, AFTER_MS)})
    await world.rounds.round()
    assert counted(world.metrics) == {}


async def test_an_empty_lake_and_a_pause_of_months_cost_no_rounds(tmp_path: Path) -> None:
    class Outcomes:
        def __init__(self) -> None:
            self.known_ms, self.num_reads = 0, 0

        def known_until_ms(self) -> int:
            return self.known_ms

        def between(self, since_ms: int, until_ms: int, window_ms: int) -> pa.Table:
            self.num_reads += 1
            return shown()

    outcomes = Outcomes()
    world = Lake(tmp_path, outcomes)
    await world.rounds.round()
    assert outcomes.num_reads == 0
    outcomes.known_ms = NOW_MS
    await world.rounds.round()
    assert outcomes.num_reads == 1, "what was served before the start is left out"
    outcomes.known_ms += 90 * 24 * 3_600_000
    await world.rounds.round()
    assert outcomes.num_reads == 1 + MAX_STEPS


async def test_a_round_that_fails_is_counted_and_made_again(tmp_path: Path) -> None:
    class Away(IcebergOutcomes):
        is_away = False

        def between(self, since_ms: int, until_ms: int, window_ms: int) -> pa.Table:
            if self.is_away:
                raise Unavailable("the lake is away")
            return super().between(since_ms, until_ms, window_ms)

    outcomes = Away(IcebergLake(str(tmp_path / "lake")))
    world = Lake(tmp_path, outcomes)
    world.fill([served(1, {"click": 0.5})], [acted(1, "click", 10)], NOW_MS + 20)
    await world.rounds.round()
    world.fill([served(9, {}, AFTER_MS)], [acted(9, "click", AFTER_MS - NOW_MS)], AFTER_MS)
    outcomes.is_away = True
    await world.rounds.round()
    assert counted(world.metrics) == {}
    assert world.metrics.registry.get_sample_value("ranker_reliability_failures_total") == 1
    outcomes.is_away = False
    await world.rounds.round()
    assert counted(world.metrics) == {("home", "click"): {"examples": 1, "expected": 0.5, "observed": 1}}


async def test_the_file_of_shown_pins_holds_what_has_closed(tmp_path: Path) -> None:
    world, path = Lake(tmp_path), tmp_path / "shown.parquet"
    outcomes = IcebergOutcomes(world.lake)
    with pytest.raises(NotFound, match="--window-s"):
        write_shown(outcomes, path, hours=1.0, window_s=WINDOW_S)
    feeds = [served(1, {"click": 0.5}), served(2, {"click": 0.5}, NOW_MS - 3 * 3_600_000), served(9, {}, AFTER_MS)]
    world.fill(feeds, [acted(1, "click", 10), acted(9, "save", AFTER_MS - NOW_MS)], AFTER_MS)
    counts = write_shown(outcomes, path, hours=1.0, window_s=WINDOW_S)
    assert counts == {"num_shown": 1, "since_ms": counts["until_ms"] - 3_600_000, "until_ms": AFTER_MS - 60_000}
    [row] = pq.read_table(path).to_pylist()
    assert (row["score_by_head"], row["clicked"], row["saved"]) == ('{"click": 0.5}', True, False)
    assert json.loads(row["versions"]) == {"model:ranker": "v1"}


@asynccontextmanager
async def lake_role(folder: Path, bus: InMemoryBus) -> AsyncIterator[Service]:
    """The service as it runs, with a window of a second."""
    config = Config(
        role="lake",
        grpc_port=0,
        admin_port=0,
        drain_s=0.2,
        lake_dir=str(folder / "lake"),
        state_dir=str(folder / "state"),
        lake_commit_interval_s=0.05,
        reliability_interval_s=0.2,
        reliability_window_s=1.0,
    )
    async with build(config, bus=bus) as service:
        yield service


def feed(user: str, request_id: str, probabilities: Mapping[str, float], time_ms: int) -> bytes:
    message = blender_pb2.ServedFeed(request_id=request_id, user_id=user, surface="home", served_time_ms=time_ms)
    for position in range(PINS_PER_FEED):
        message.candidates.add(pin_id=f"pin-{position}", position=position, score_by_head=probabilities)
    return message.SerializeToString()


async def test_a_head_that_promises_too_much_is_seen_while_an_honest_one_is_not(tmp_path: Path) -> None:
    """Over the topics, as in production: people click as often as was said, and save a quarter as often."""
    bus, dice = InMemoryBus(), random.Random(5)
    said, true = {"click": 0.2, "save": 0.4}, {"click": 0.2, "save": 0.1}
    async with lake_role(tmp_path, bus) as service:
        metrics = service_metrics(service)

        def send(number: int) -> None:
            time_ms, user, request_id = bus.clock.now_ms(), f"user-{number}", f"request-{number}"
            bus.append(topics.FEEDS_SERVED, feed(user, request_id, said, time_ms), b"0", 0, {})
            acts = [
                event(dice.getrandbits(60), user, pin_id=f"pin-{position}", event_type=head, request_id=request_id)
                | {"event_time_ms": time_ms + 5, "received_time_ms": time_ms + 6}
                for position in range(PINS_PER_FEED)
                for head, probability in true.items()
                if dice.random() < probability
            ]
            bus.append(topics.EVENTS_ENRICHED, arrow.encode(envelope(acts)), b"0", 0, {})

        send(0)  # the first round after it begins the count
        await eventually(lambda: until(metrics) > 0, within_s=20)
        for number in range(1, NUM_FEEDS):
            send(number)
        last_ms = bus.clock.now_ms()

        while until(metrics) * 1_000 <= last_ms:
            send(dice.getrandbits(30))  # time goes on by what comes
            await asyncio.sleep(0.1)
    found = counted(metrics)
    assert found["home", "click"]["examples"] >= (NUM_FEEDS - 1) * PINS_PER_FEED
    ratio = {head: found["home", head]["observed"] / found["home", head]["expected"] for head in said}
    assert ratio["click"] == pytest.approx(1.0, abs=0.2)
    assert ratio["save"] == pytest.approx(0.25, abs=0.08)


def until(metrics: Metrics) -> float:
    return metrics.registry.get_sample_value("ranker_reliability_until_seconds") or 0.0


def service_metrics(service: Service) -> Metrics:
    (rounds,) = (part for part in service._parts if isinstance(part, MeasureReliability))
    return rounds._metrics
