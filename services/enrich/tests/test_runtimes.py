"""One definition, one result: the stream, a local batch, Ray and the preview agree row by row and field by field."""

import asyncio
import itertools
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chassis.errors import Invalid, Unavailable
from chassis.health import Health
from chassis.kafka import arrow
from chassis.kafka.record import Record
from chassis.testing import FakeClock
from protos import topics
from protos.event_schema import ACCEPTED
from sequences.definitions.definitions import Definitions, assemble
from sequences.definitions.enrichment import Column, Enrichment
from sequences.definitions.testing import repository_definitions
from sequences.engine.executor import ExecutorResult
from sequences.engine.executors.drop_bots import DropBots
from sequences.engine.lookup import CachedLookup, NoLookups
from sequences.engine.observer import SilentObserver
from sequences.engine.runtimes.job import Job
from sequences.engine.runtimes.local import run_local
from sequences.engine.runtimes.outcome import Outcome
from sequences.engine.runtimes.ray_data import run_on_ray
from sequences.testing import EVENT, events_batch
from services.enrich.app.engines import Engines
from services.enrich.app.enrich_events import EnrichEvents
from services.enrich.app.preview_event import PreviewEvent
from services.enrich.app.unknown_types import WAIT_S
from services.enrich.inbound.kafka_consumer import EventsInbound
from services.enrich.tests.fakes import (
    AbsentPins,
    HistoricPins,
    InMemoryEnrichedEvents,
    InMemoryParking,
)

MOVIELENS = Path(os.environ.get("CORKBOARD_MOVIELENS", ""))
NUM_RATINGS = 20_000
TIME = "enriched_time_ms"  # when a runtime wrote the row: the one column in which they differ
REPEATS = Enrichment(
    name="repeats",
    owner="t",
    executor="dedupe_window",
    reads=("event_type", "event_time_ms", "pin_id"),
    parameters={"window_s": 60},
    writes=(Column(name="repeat_key", type="string"),),
)
SESSIONS = Enrichment(
    name="sessions",
    owner="t",
    executor="sessionise",
    reads=("user_id", "event_time_ms"),
    parameters={"session_s": 1800},
    writes=(Column(name="session_id", type="int64"), Column(name="session_start_ms", type="int64")),
)
Rows = dict[str, dict[str, Any]]
Failures = set[tuple[str, str]]


def definitions() -> Definitions:
    """Those of the repository, and executors that they do not use."""
    known = repository_definitions()
    kinds: list[dict[str, Any]] = [known.events, known.enrichments, known.sequences, known.surfaces, known.spacing]
    return assemble([REPEATS, SESSIONS, *(each for kind in kinds for each in kind.values())])


DEFINITIONS = definitions()
JOB = Job.of(DEFINITIONS, HistoricPins)
EVENTS = st.lists(
    st.fixed_dictionaries(
        {
            "user_id": st.sampled_from(["ann", "bob", "bot-1"]),
            "event_type": st.sampled_from([*DEFINITIONS.events, "gone"]),
            "event_time_ms": st.integers(1_600_000_000_000, 1_600_000_200_000),
            "pin_id": st.sampled_from(["good", "poison", "unknown", ""]),
            "attributes": st.sampled_from(
                [b"", b'{"dwell_s":0.5}', b'{"dwell_s":9}', b'{"rating":4}', b'{"query":" Red\\n"}', b"\xff", b"{"]
            ),
        }
    ),
    max_size=24,
)
CUTS = st.lists(st.integers(0, 24), max_size=4)


class Stream:
    """Enrich's consumer over in-memory ports."""

    def __init__(self, pins: HistoricPins | NoLookups) -> None:
        self.clock = FakeClock()
        engines = Engines(CachedLookup(pins), SilentObserver(), Health())
        engines.use(DEFINITIONS)
        self.events, self.parking = InMemoryEnrichedEvents(), InMemoryParking()
        self.preview = PreviewEvent(engines, self.clock)
        self.consume = EventsInbound(EnrichEvents(engines, self.events, self.parking, self.clock))

    async def handle(self, records: Sequence[Record]) -> None:
        """Until the effects are durable, as the chassis does."""
        while True:
            try:
                return await self.consume(records)
            except Unavailable:
                self.clock.advance(WAIT_S)

    def outcome(self) -> tuple[Rows, Failures]:
        rows = [row for _, batch in self.events.envelopes for row in batch.drop_columns([TIME]).to_pylist()]
        assert len({row["event_id"] for row in rows}) == len(rows)
        assert len(set(self.parking.rows)) == len(self.parking.rows)
        return {row["event_id"]: row for row in rows}, set(self.parking.rows)


def cut(batch: pa.RecordBatch, cuts: Sequence[int]) -> list[pa.RecordBatch]:
    borders = sorted({0, batch.num_rows, *(at for at in cuts if at < batch.num_rows)})
    return [batch.slice(start, end - start) for start, end in itertools.pairwise(borders)]


def records_of(batches: Sequence[pa.RecordBatch]) -> list[Record]:
    topic = topics.EVENTS_ACCEPTED
    return [
        Record(topic.name, number % topic.num_partitions, number, None, arrow.encode(batch), {}, 0)
        for number, batch in enumerate(batches)
    ]


async def streamed(batches: Sequence[pa.RecordBatch], per_call: int) -> tuple[Rows, Failures]:
    """Handler calls beside each other, each with some records."""
    stream, records = Stream(HistoricPins()), records_of(batches)
    calls = [records[at : at + per_call] for at in range(0, len(records), per_call)]
    await asyncio.gather(*map(stream.handle, calls))
    return stream.outcome()


async def previewed(events: pa.RecordBatch) -> tuple[Rows, Failures]:
    stream = Stream(HistoricPins())
    rows: Rows = {}
    failures: Failures = set()
    for number in range(events.num_rows):
        event = events.slice(number, 1)
        preview = await stream.preview(event)
        rows |= {row["event_id"]: row for row in preview.row.drop_columns([TIME]).to_pylist()}
        event_id = event.column("event_id")[0].as_py()
        failures |= {(event_id, failure.reason) for failure in preview.result.failures}
    return rows, failures


def of_outcomes(outcomes: Sequence[Outcome]) -> tuple[Rows, Failures]:
    version = {"definitions_version": DEFINITIONS.version}
    rows = [row | version for each in outcomes for row in each.enriched.to_pylist()]
    failures = [(row["event_id"], row["reason"]) for each in outcomes for row in each.failures.to_pylist()]
    assert len(set(failures)) == len(failures)
    return {row["event_id"]: row for row in rows}, set(failures)


def numbered(rows: Sequence[dict[str, Any]]) -> pa.RecordBatch:
    return events_batch([{**row, "event_id": f"e{number}"} for number, row in enumerate(rows)])


@settings(max_examples=30, deadline=None)
@given(EVENTS, CUTS, CUTS, st.integers(1, 4), st.integers(1, 4))
def test_every_runtime_gives_the_same_rows_and_failures(
    rows: list[dict[str, Any]], envelopes: list[int], batches: list[int], per_call: int, concurrency: int
) -> None:
    events = numbered(rows)
    stream = asyncio.run(streamed(cut(events, envelopes), per_call))
    batch = of_outcomes(list(run_local(JOB, cut(events, batches), concurrency)))
    assert stream == batch
    assert stream == asyncio.run(previewed(events))
    assert len(stream[0]) + len(stream[1]) <= len(rows)


async def test_an_executor_that_looks_at_its_batch_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def drop_repeats_in_the_batch(self: object, batch: pa.RecordBatch, *_: object) -> ExecutorResult:
        users = batch.column("user_id").to_pylist()
        return ExecutorResult(keep=np.array([user not in users[:row] for row, user in enumerate(users)]))

    monkeypatch.setattr(DropBots, "run", drop_repeats_in_the_batch)
    events = numbered([{}, {}])
    stream = await streamed(cut(events, [1]), 1)
    batch = await asyncio.to_thread(lambda: of_outcomes(list(run_local(JOB, [events]))))
    assert (len(stream[0]), len(batch[0])) == (2, 1)


def mixed_events(num_rows: int) -> pa.RecordBatch:
    """Every type with every pin and content in turn."""
    types, pins = [*DEFINITIONS.events, "gone"], ["good", "poison", "unknown", ""]
    contents = [b"", b'{"dwell_s":9}', b'{"rating":4}', b"\xff"]
    ring = itertools.cycle(itertools.product(types, pins, contents))
    rows = [
        {"event_type": kind, "pin_id": pin, "attributes": content, "event_time_ms": 1_600_000_000_000 + number * 977}
        for number, (kind, pin, content) in enumerate(itertools.islice(ring, num_rows))
    ]
    return numbered(rows)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.filterwarnings("ignore")
def test_ray_gives_what_the_local_batch_and_the_stream_give(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="the extra `ray` is not installed")
    events = mixed_events(1_000)
    pq.write_table(pa.Table.from_batches([events]), tmp_path / "events.parquet", row_group_size=170)
    outcomes = list(run_on_ray(JOB, tmp_path / "events.parquet", num_workers=2, batch_rows=128))
    found = of_outcomes(outcomes)
    assert found == of_outcomes(list(run_local(JOB, cut(events, [300, 301]))))
    assert found == asyncio.run(streamed(cut(events, [5, 500]), 2))
    assert sum(each.num_in for each in outcomes) == 1_000
    assert len(found[0]) > 100
    assert {reason.split(":")[0] for _, reason in found[1]} >= {"TypeError", "invalid_field", "missing_field"}
    ids = [event_id for each in outcomes for event_id in each.enriched.column("event_id").to_pylist()]
    assert ids == sorted(ids, key=lambda event_id: int(event_id[1:]))


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.filterwarnings("ignore")
def test_a_look_up_that_must_not_be_missing_ends_a_job_on_ray_with_its_reason(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="the extra `ray` is not installed")
    pins = DEFINITIONS.enrichments["pin_features"].model_copy(update={"on_missing": "park"})
    needing = DEFINITIONS.model_copy(update={"enrichments": {**DEFINITIONS.enrichments, pins.name: pins}})
    pq.write_table(pa.Table.from_batches([numbered([{}])]), tmp_path / "events.parquet")
    with pytest.raises(Unavailable, match="cannot look up 1 keys"):
        list(run_on_ray(Job.of(needing, AbsentPins), tmp_path / "events.parquet", num_workers=1))


def test_ray_that_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(Invalid, match=r"pip install 'corkboard\[ray\]'"):
        list(run_on_ray(JOB, tmp_path, 1))


def ratings(path: Path) -> pa.RecordBatch:
    lines = [line.split("\t") for line in path.read_text().splitlines()[1 : NUM_RATINGS + 1]]
    users, items, stars, times_s = zip(*lines, strict=True)
    times_ms = pc.multiply(pc.cast(pa.array(times_s), pa.float64()), 1000).cast(pa.int64())
    columns: dict[str, Any] = {name: pa.repeat(value, len(lines)) for name, value in EVENT.items()}
    columns |= {
        "event_id": pa.array([f"ml-{number}" for number in range(len(lines))]),
        "user_id": pa.array([f"ml-user-{user}" for user in users]),
        "event_type": pa.repeat("rating", len(lines)),
        "pin_id": pa.array([f"ml-pin-{item}" for item in items]),
        "event_time_ms": times_ms,
        "received_time_ms": times_ms,
        "attributes": pa.array([f'{{"rating":{each}}}'.encode() for each in stars]),
    }
    return pa.RecordBatch.from_arrays([columns[field.name].cast(field.type) for field in ACCEPTED], schema=ACCEPTED)


@pytest.mark.skipif(not MOVIELENS.is_file(), reason="CORKBOARD_MOVIELENS names no file")
async def test_ratings_of_movielens_are_equal_in_stream_and_batch() -> None:
    events = ratings(MOVIELENS)
    stream = Stream(NoLookups())
    for record in records_of(cut(events, range(0, NUM_RATINGS, 512))):
        await stream.handle([record])
    found = pa.Table.from_batches([batch for _, batch in stream.events.envelopes])
    outcomes = await asyncio.to_thread(lambda: list(run_local(Job.of(DEFINITIONS), cut(events, [1, 9_999]))))
    expected = pa.concat_tables([each.enriched for each in outcomes])
    assert expected.num_rows == NUM_RATINGS
    assert found.select(expected.schema.names).sort_by("event_id").equals(expected.sort_by("event_id"))
    assert set(found.column("definitions_version").unique().to_pylist()) == {DEFINITIONS.version}
