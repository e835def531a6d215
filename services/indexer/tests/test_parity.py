"""A comparison over a real lake: what differs is found, counted and explained, and nothing else."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chassis.errors import Invalid
from protos.event_schema import ACCEPTED
from sequences.definitions.columns import enriched_schema
from sequences.definitions.definitions import Definitions, parse
from sequences.definitions.testing import repository_definitions
from sequences.parity.gates import Missing, Thresholds
from sequences.parity.run import Findings, Settings
from services.indexer.config import Config
from services.indexer.domain.lake_rows import Table, dated
from services.indexer.domain.pins import PIN_SCHEMA
from services.indexer.domain.routing import Routing
from services.indexer.offline.parity_clean import clean
from services.indexer.offline.parity_comparison import Comparison, Job
from services.indexer.offline.parity_engine import ParityEngine
from services.indexer.offline.parity_model_inputs import HISTORIES, PINS
from services.indexer.offline.parity_sides import BatchSide, Side, StreamSide
from services.indexer.offline.parity_sources import Window, sampled_users
from services.indexer.outbound.iceberg_lake import IcebergLake
from services.indexer.ports import PinRows
from services.indexer.tests.conftest import CLOCK
from services.indexer.tests.in_memory_stores import InMemoryPinStore, InMemorySequenceStore, InMemoryState
from services.indexer.tests.samples import NOW_MS

HOUR_MS = 3_600_000
FROM_MS = NOW_MS // HOUR_MS * HOUR_MS
WINDOW = Window(("long_view",), FROM_MS, FROM_MS + HOUR_MS)
NUM_USERS, NUM_EVENTS = 8, 400
Event = dict[str, Any]
OLD = repository_definitions()


def with_dwell(min_dwell_s: float) -> Definitions:
    changed = OLD.enrichments["min_dwell"].model_copy(update={"parameters": {"min_dwell_s": min_dwell_s}})
    rooms = {"enrichments": {**OLD.enrichments, "min_dwell": changed}}
    return parse(OLD.model_copy(update=rooms).canonical_json())


def accepted(num_events: int = NUM_EVENTS) -> list[Event]:
    """Long views of 1 to 11 seconds, in the window."""
    return [
        {
            "event_id": f"e-{number:04d}",
            "user_id": f"user-{number % NUM_USERS}",
            "event_type": "long_view",
            "event_time_ms": FROM_MS + number,
            "received_time_ms": FROM_MS + number + 5,
            "pin_id": f"pin-{number % 5}",
            "surface": "home",
            "request_id": "",
            "traceparent": "",
            "attributes": f'{{"dwell_s": {1 + number % 11}}}'.encode(),
        }
        for number in range(num_events)
    ]


def as_table(events: list[Event]) -> pa.Table:
    return pa.Table.from_pylist(events, schema=ACCEPTED)


class House:
    """A stream's lake and store, and pins; `events` are what it got."""

    def __init__(self, folder: Path, definitions: Definitions) -> None:
        self.definitions = definitions
        self.lake = IcebergLake(str(folder))
        self.state = InMemoryState(CLOCK)
        self.pins = InMemoryPinStore(self.state)

    async def take(self, events: list[Event]) -> "House":
        await self.pins.put(pin_rows())
        rows = await ParityEngine(self.definitions, self.pins).enriched(as_table(events), NOW_MS)
        return await self.write(rows)

    async def write(self, rows: pa.Table) -> "House":
        if rows.num_rows:
            self.lake.coverage(Table.EVENTS)
            self.lake.append(Table.EVENTS, dated(rows, Table.EVENTS), {})
            store, routing = InMemorySequenceStore(self.state), Routing(self.definitions)
            for batch in rows.combine_chunks().to_batches():
                await store.append(routing.route(batch, NOW_MS))
        return self

    @property
    def side(self) -> StreamSide:
        return StreamSide(self.definitions, self.lake, InMemorySequenceStore(self.state), WINDOW)


def pin_rows() -> PinRows:
    rows = [{"pin_id": f"pin-{number}", "topics": ["art"], "content_vector": [1.0, 0.0]} for number in range(5)]
    return PinRows(pa.RecordBatch.from_pylist(rows, schema=PIN_SCHEMA), [1] * 5, [1] * 5)


@pytest.fixture
async def old(tmp_path: Path) -> House:
    return await House(tmp_path / "old", OLD).take(accepted())


def comparison(folder: Path, events: list[Event], old: House, new: Side, *, settle_s: float = 0.0) -> Comparison:
    settings = Settings(
        event_types=WINDOW.event_types,
        against="shadow",
        old_version=OLD.version,
        new_version=new.definitions.version,
        wanted_version="",
        from_ms=WINDOW.from_ms,
        until_ms=WINDOW.until_ms,
        settle_s=settle_s,
        last=20,
        max_users=5,
    )
    job = Job(settings, Thresholds(), "engagement", folder / "out", lambda _: None)
    engines = {each.version: ParityEngine(each, old.pins) for each in (OLD, new.definitions)}
    return Comparison(job, as_table(events), old.side, new, engines)


async def findings(folder: Path, events: list[Event], old: House, new: Side) -> Findings:
    return await comparison(folder, events, old, new).tier_1_and_2()


def causes(found: Findings) -> Mapping[tuple[str, str, str], int]:
    return {(each.missing_on, each.cause, each.detail): each.num_events for each in found.causes}


def verdicts(found: Findings) -> dict[str, str]:
    return {gate.name: gate.verdict for gate in found.gates}


async def test_the_same_on_both_sides_opens_every_gate(tmp_path: Path, old: House) -> None:
    new = await House(tmp_path / "new", OLD).take(accepted())
    found = await findings(tmp_path, accepted(), old, new.side)
    assert set(verdicts(found).values()) == {"passed"}
    assert [(hour.num_left, hour.num_common) for hour in found.hours] == [(NUM_EVENTS, NUM_EVENTS)]
    assert (found.num_accepted, found.num_users, found.causes) == (NUM_EVENTS, 5, ())
    assert {"dwell_s", "pin_topics", "attributes"} <= {each.column for each in found.fields}


async def test_another_filter_is_named_with_the_events_that_it_takes(tmp_path: Path, old: House) -> None:
    new = await House(tmp_path / "new", with_dwell(6.0)).take(accepted())
    found = await findings(tmp_path, accepted(), old, new.side)
    num_short = sum(1 + number % 11 < 6 for number in range(NUM_EVENTS))
    assert causes(found) == {("new", "filtered", "min_dwell"): num_short}
    assert verdicts(found)["match_rate"] == verdicts(found)["jaccard_mean"] == "failed"
    assert verdicts(found)["unknown_ratio"] == "passed"


async def test_lost_events_are_unknown_and_those_of_one_user_show_as_lag(tmp_path: Path, old: House) -> None:
    new = await House(tmp_path / "new", OLD).take(accepted()[: NUM_EVENTS // 2])
    found = await findings(tmp_path, accepted(), old, new.side)
    assert causes(found) == {("new", "unknown", "that side's definitions keep it"): NUM_EVENTS // 2}
    assert {verdicts(found)[name] for name in ("match_rate", "unknown_ratio", "lag_p50_s")} == {"failed"}


async def test_what_comes_after_the_settling_delay_was_late(tmp_path: Path, old: House) -> None:
    new = await House(tmp_path / "new", OLD).take(accepted()[:-40])

    class Slow(StreamSide):
        """The rest arrives after the first look."""

        num_looks = 0

        async def events(self) -> pa.Table:
            self.num_looks += 1
            if self.num_looks == 2:
                await new.take(accepted()[-40:])
            return await super().events()

    found = await findings(tmp_path, accepted(), old, Slow(OLD, new.lake, InMemorySequenceStore(new.state), WINDOW))
    assert causes(found) == {("new", "late", "came after the settling delay"): 40}


async def test_a_schema_error_and_an_id_of_another_event_are_told_apart(tmp_path: Path, old: House) -> None:
    events = accepted()
    broken = events[0] | {"event_id": "broken", "attributes": b"{"}
    stolen = events[1] | {"event_id": "stolen"}
    schema = enriched_schema(OLD)
    rows = [
        {**dict.fromkeys(schema.names), **each, "definitions_version": "d-0", "enriched_time_ms": 1}
        for each in (broken, stolen)
    ]
    await old.write(pa.Table.from_pylist(rows, schema=schema))
    new = await House(tmp_path / "new", OLD).take([*events, stolen | {"user_id": "thief"}])
    found = await findings(tmp_path, events, old, new.side)
    assert {cause: number for (side, cause, _), number in causes(found).items() if side == "new"} == {
        "schema error": 1,
        "deduplicated": 1,
    }


async def test_stream_and_batch_agree(tmp_path: Path, old: House) -> None:
    engine = ParityEngine(OLD, old.pins)
    batch = BatchSide(OLD, engine, as_table(accepted()), NOW_MS + 1)
    found = await findings(tmp_path, accepted(), old, batch)
    assert set(verdicts(found).values()) == {"passed"}
    assert found.hours[0].num_right == NUM_EVENTS


async def test_events_outside_of_the_window_count_nowhere(tmp_path: Path, old: House) -> None:
    early = [each | {"event_id": f"early-{each['event_id']}", "received_time_ms": FROM_MS - 1} for each in accepted(9)]
    await old.take(early)
    new = await House(tmp_path / "new", OLD).take(accepted())
    assert set(verdicts(await findings(tmp_path, accepted(), old, new.side)).values()) == {"passed"}


async def test_columns_that_an_earlier_version_left_in_the_lake_do_not_count(tmp_path: Path, old: House) -> None:
    """After a rollback the table still has the column of what was rolled back."""
    strange = pa.Table.from_pylist(accepted(3), schema=ACCEPTED).append_column("left_over", pa.array(["x"] * 3))
    for name in set(enriched_schema(OLD).names) - set(strange.column_names):
        field = enriched_schema(OLD).field(name)
        value = {"definitions_version": "d-0", "enriched_time_ms": 1}.get(name)
        strange = strange.append_column(field, pa.array([value] * 3, field.type))
    await old.write(strange)
    new = await House(tmp_path / "new", OLD).take(accepted())
    found = await findings(tmp_path, accepted(), old, new.side)
    assert "left_over" not in {each.column for each in found.fields}
    assert set(verdicts(found).values()) == {"passed"}
    assert found.num_repeated_old == 3


async def test_an_empty_side_is_not_measured(tmp_path: Path, old: House) -> None:
    found = await findings(tmp_path, accepted(), old, House(tmp_path / "new", OLD).side)
    assert verdicts(found)["match_rate"] == verdicts(found)["agreement"] == "not measured"
    assert verdicts(found)["jaccard_mean"] == "failed"
    nothing = await findings(tmp_path, [], House(tmp_path / "a", OLD), House(tmp_path / "b", OLD).side)
    assert set(verdicts(nothing).values()) == {"not measured"}


async def test_histories_are_those_of_each_side_and_the_same_before_the_window(tmp_path: Path, old: House) -> None:
    before = [each | {"event_id": f"b-{each['event_id']}", "received_time_ms": FROM_MS - 1} for each in accepted(24)]
    await old.take([each | {"event_time_ms": FROM_MS - 1_000 + at} for at, each in enumerate(before)])
    later = {"event_time_ms": WINDOW.until_ms, "received_time_ms": WINDOW.until_ms}
    await old.take([each | {"event_id": f"l-{each['event_id']}"} | later for each in accepted(NUM_EVENTS)])
    new = await House(tmp_path / "new", with_dwell(6.0)).take(accepted())
    assert await comparison(tmp_path, accepted(), old, new.side).write_model_inputs(old.pins) is None
    rows = pq.read_table(tmp_path / "out" / HISTORIES).to_pylist()
    users = set(sampled_users(as_table(accepted()), 5))
    assert {row["user_id"] for row in rows} == users
    ids = {side: {row["event_id"] for row in rows if row["side"] == side} for side in ("old", "new")}
    assert {each for each in ids["old"] if each.startswith("b-")} == {each for each in ids["new"] if each[:2] == "b-"}
    short = {each["event_id"] for each in accepted() if int(each["event_id"][2:]) % 11 < 5 and each["user_id"] in users}
    assert ids["old"] - ids["new"] == short
    assert pq.read_table(tmp_path / "out" / PINS).column("is_candidate").to_pylist() == [True] * 5


async def test_without_pins_or_sequences_there_is_nothing_to_score(tmp_path: Path, old: House) -> None:
    new = await House(tmp_path / "new", OLD).take(accepted())
    without_pins = InMemoryPinStore(InMemoryState(CLOCK))
    found = await comparison(tmp_path, accepted(), old, new.side).write_model_inputs(without_pins)
    assert found == Missing(why="the online store knows no pins to rank")


async def test_the_real_store_and_lake_are_never_cleaned(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="database 0"):
        await clean(Config(redis_url="redis://127.0.0.1:1/0", lake_dir=str(tmp_path / "shadow" / "x")))
    with pytest.raises(Invalid, match="not the lake of a shadow"):
        await clean(Config(redis_url="redis://127.0.0.1:1/1", lake_dir=str(tmp_path / "lake")))
