"""A backfill over real Iceberg tables: readers see each event once before, during and after; kills lose nothing."""

import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from chassis.errors import Conflict, Invalid, NotFound, Unavailable
from sequences.definitions.definitions import Definitions
from sequences.definitions.testing import repository_definitions
from services.indexer.app import backfill as use_case
from services.indexer.app.backfill import Done, Order, Progress
from services.indexer.app.merged_events import merged_events
from services.indexer.domain.lake_rows import Table, dated
from services.indexer.domain.pins import PIN_SCHEMA
from services.indexer.domain.watermark import BatchState
from services.indexer.offline.backfill import backfill
from services.indexer.outbound.iceberg_backfills import IcebergBackfills
from services.indexer.outbound.iceberg_lake import IcebergLake
from services.indexer.ports import PinRows
from services.indexer.tests.conftest import CLOCK
from services.indexer.tests.in_memory_stores import InMemoryPinStore, InMemoryState
from services.indexer.tests.samples import NOW_MS, envelope, event

DAY_MS = 86_400_000
FIRST_MS = NOW_MS // DAY_MS * DAY_MS - 10 * DAY_MS
NUM_DAYS = 6
PER_DAY = 40
Event = dict[str, Any]


class Killed(BaseException):
    """Stands for kill -9: nothing after it runs."""


@pytest.fixture
def lake(tmp_path: Path) -> IcebergLake:
    found = IcebergLake(str(tmp_path / "lake"))
    append(found, [saved(day, n) for day in range(NUM_DAYS) for n in range(PER_DAY)])
    return found


@pytest.fixture
async def pins() -> InMemoryPinStore:
    found = InMemoryPinStore(InMemoryState(CLOCK))
    rows = pa.RecordBatch.from_pylist([{"pin_id": "pin-1", "topics": ["art"], "price_micros": 0}], schema=PIN_SCHEMA)
    await found.put(PinRows(rows, [1], [1]))
    return found


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(use_case, "MAX_CHUNK_ROWS", PER_DAY)


def saved(day: int, number: int, **values: Any) -> Event:
    time_ms = FIRST_MS + day * DAY_MS + number
    times = {"event_time_ms": time_ms, "received_time_ms": time_ms + 5, "enriched_time_ms": time_ms + 9}
    return event(number, user_id=f"user-{number % 7}", **{"event_id": f"e-{day}-{number}"} | times | values)


def append(lake: IcebergLake, events: list[Event]) -> None:
    lake.coverage(Table.EVENTS)
    lake.append(Table.EVENTS, dated(pa.Table.from_batches([envelope(events)]), Table.EVENTS), {})


def order(definitions: Definitions, days: int = NUM_DAYS, **values: Any) -> Order:
    given: dict[str, Any] = {"event_type": "save", "from_ms": FIRST_MS, "until_ms": FIRST_MS + days * DAY_MS}
    return Order(**given | {"definitions_version": definitions.version, "activated_ms": {}} | values)


async def run(
    lake: IcebergLake,
    pins: InMemoryPinStore,
    definitions: Definitions | None = None,
    *,
    dies_after: int = 0,
    **values: Any,
) -> Done:
    """`dies_after` chunks are committed; 0 = never."""
    found, num_chunks = definitions or repository_definitions(), 0

    def on_progress(_: Progress) -> None:
        nonlocal num_chunks
        num_chunks += 1
        if num_chunks == dies_after:
            raise Killed

    restart = values.pop("gives_up_open", False)
    return await backfill(lake, pins, found, order(found, **values), on_progress, gives_up_open=restart)


def ids(lake: IcebergLake) -> Counter[str]:
    return Counter(merged_events(lake, ["event_id"]).column("event_id").to_pylist())


def topics_of(lake: IcebergLake) -> Mapping[str, Any]:
    return {row["event_id"]: row["pin_topics"] for row in merged_events(lake).to_pylist()}


def state(lake: IcebergLake) -> BatchState:
    return IcebergBackfills(lake.catalog).state()


def num_rows_written(lake: IcebergLake) -> Counter[str]:
    table = lake.catalog.load_table("corkboard.events_backfilled").scan().to_arrow()
    return Counter(table.column("event_id").to_pylist())


def without_bots(definitions: Definitions, prefixes: list[str]) -> Definitions:
    """The definitions with other users filtered, and so with another version."""
    bots = definitions.enrichments["drop_bots"].model_copy(update={"parameters": {"user_id_prefixes": prefixes}})
    changed = definitions.model_copy(update={"enrichments": {**definitions.enrichments, "drop_bots": bots}})
    return changed.model_copy(update={"version": "d-other"})


async def test_a_backfill_moves_w_and_brings_what_the_stream_lacked(lake: IcebergLake, pins: InMemoryPinStore) -> None:
    before = ids(lake)
    assert set(map(str, topics_of(lake).values())) == {"None"}
    done = await run(lake, pins)
    assert (done.run.num_in, done.run.num_kept, done.run.num_failed) == (NUM_DAYS * PER_DAY, NUM_DAYS * PER_DAY, 0)
    assert done.watermark_ms == state(lake).watermarks_ms["save"] == FIRST_MS + NUM_DAYS * DAY_MS - 1
    assert ids(lake) == before
    assert set(map(str, topics_of(lake).values())) == {"['art']"}


async def test_only_the_range_changes_and_w_never_moves_back(lake: IcebergLake, pins: InMemoryPinStore) -> None:
    await run(lake, pins, days=3)
    assert sum(topics is not None for topics in topics_of(lake).values()) == 3 * PER_DAY
    highest_ms = state(lake).watermarks_ms["save"]
    await run(lake, pins, days=1)
    assert state(lake).watermarks_ms["save"] == highest_ms
    assert ids(lake).most_common(1)[0][1] == 1


@pytest.mark.parametrize("dies_after", [1, 3, NUM_DAYS])
async def test_a_killed_backfill_is_not_seen_and_goes_on_where_it_was(
    lake: IcebergLake, pins: InMemoryPinStore, dies_after: int
) -> None:
    before = topics_of(lake)
    with pytest.raises(Killed):
        await run(lake, pins, dies_after=dies_after)
    assert topics_of(lake) == before and "save" not in state(lake).watermarks_ms
    [open_run] = state(lake).open_runs.values()
    assert open_run.num_in == dies_after * PER_DAY
    done = await run(lake, pins)
    assert done.is_resumed and done.run.run_id == open_run.run_id and done.run.num_in == NUM_DAYS * PER_DAY
    assert set(num_rows_written(lake).values()) == {1}
    assert ids(lake) == Counter(before.keys()) and not state(lake).open_runs


async def test_two_processes_on_one_run_find_each_other_out(lake: IcebergLake, pins: InMemoryPinStore) -> None:
    with pytest.raises(Killed):
        await run(lake, pins, dies_after=2)
    slow = state(lake).open_runs["save"]
    await run(lake, pins)
    with pytest.raises(Conflict, match="another process"):
        IcebergBackfills(lake.catalog).commit(slow, slow, pa.table({}))
    assert set(num_rows_written(lake).values()) == {1}


async def test_another_range_waits_or_takes_over(lake: IcebergLake, pins: InMemoryPinStore) -> None:
    with pytest.raises(Killed):
        await run(lake, pins, dies_after=4)
    with pytest.raises(Conflict, match="--restart"):
        await run(lake, pins, days=2)
    await run(lake, pins, days=2, gives_up_open=True)
    assert len(num_rows_written(lake)) == 2 * PER_DAY  # what the other had written is gone


async def test_late_and_corrected_events_are_there_once_whenever_they_come(
    lake: IcebergLake, pins: InMemoryPinStore
) -> None:
    def late_and_corrected(number: int, after_ms: int) -> list[Event]:
        times = {"received_time_ms": NOW_MS + after_ms, "enriched_time_ms": NOW_MS + after_ms}
        return [
            saved(1, 1000 + number, **times),  # late
            saved(2, number, attributes=b'{"board_id": "%d"}' % number, **times),  # corrected
        ]

    def boards() -> dict[str, bytes]:
        rows = merged_events(lake).to_pylist()
        return {row["event_id"]: row["attributes"] for row in rows if row["attributes"]}

    append(lake, late_and_corrected(1, 1))
    with pytest.raises(Killed):
        await run(lake, pins, dies_after=3)
    append(lake, late_and_corrected(2, 2))
    assert len(ids(lake)) == NUM_DAYS * PER_DAY + 2 and ids(lake).most_common(1)[0][1] == 1
    await run(lake, pins)
    append(lake, late_and_corrected(3, 3))
    assert len(ids(lake)) == NUM_DAYS * PER_DAY + 3 and ids(lake).most_common(1)[0][1] == 1
    assert boards() == {f"e-2-{n}": b'{"board_id": "%d"}' % n for n in (1, 2, 3)}
    done = await run(lake, pins)
    assert done.run.num_late == 6
    assert boards() == {f"e-2-{n}": b'{"board_id": "%d"}' % n for n in (1, 2, 3)}
    assert len(ids(lake)) == NUM_DAYS * PER_DAY + 3 and ids(lake).most_common(1)[0][1] == 1


async def test_what_new_definitions_filter_is_gone_and_comes_back_with_the_old(
    lake: IcebergLake, pins: InMemoryPinStore
) -> None:
    num_of_user_3 = sum(each % 7 == 3 for each in range(PER_DAY)) * NUM_DAYS
    strict = without_bots(repository_definitions(), ["user-3"])
    done = await run(lake, pins, strict)
    assert done.run.num_filtered == num_of_user_3
    assert len(ids(lake)) == NUM_DAYS * PER_DAY - num_of_user_3
    assert "user-3" not in merged_events(lake, ["user_id"]).column("user_id").to_pylist()
    await run(lake, pins)
    assert len(ids(lake)) == NUM_DAYS * PER_DAY
    assert set(num_rows_written(lake).values()) == {1}  # the older run retired


async def test_events_that_fail_stay_as_the_stream_had_them(lake: IcebergLake, pins: InMemoryPinStore) -> None:
    append(lake, [saved(0, 500, attributes=b"no json")])
    done = await run(lake, pins)
    assert done.run.num_failed == 1 and [name.split(":")[0] for name in done.failures] == ["attributes"]
    assert ids(lake)["e-0-500"] == 1


async def test_readers_see_every_event_once_at_each_moment(lake: IcebergLake, pins: InMemoryPinStore) -> None:
    expected, seen = ids(lake), set()
    problems: list[str] = []
    is_over = threading.Event()

    def poll() -> None:
        while not is_over.is_set():
            rows = merged_events(lake, ["event_id", "pin_topics"]).to_pylist()
            if Counter(row["event_id"] for row in rows) != expected:
                problems.append("an event is lost or doubled")
            kinds = frozenset(str(row["pin_topics"]) for row in rows)
            seen.add(kinds)
            if len(kinds) != 1:
                problems.append(f"a half published run: {kinds}")

    lake.coverage(Table.EVENTS)
    thread = threading.Thread(target=poll)
    thread.start()
    try:
        await run(lake, pins)
        await run(lake, pins, without_bots(repository_definitions(), ["nobody"]))
    finally:
        is_over.set()
        thread.join()
    poll_once = frozenset(map(str, topics_of(lake).values()))
    assert problems == []
    assert seen | {poll_once} == {frozenset(["None"]), frozenset(["['art']"])}


async def test_an_online_store_that_is_away_fails_the_run_and_writes_no_nulls(lake: IcebergLake) -> None:
    store = InMemoryState(CLOCK)
    store.is_away = True
    with pytest.raises(Unavailable):
        await run(lake, InMemoryPinStore(store))
    assert "save" not in state(lake).watermarks_ms


async def test_orders_that_make_no_sense_are_refused(tmp_path: Path, pins: InMemoryPinStore) -> None:
    with pytest.raises(NotFound, match="no events"):
        await run(IcebergLake(str(tmp_path)), pins)


async def test_unknown_types_and_future_ranges_are_named(lake: IcebergLake, pins: InMemoryPinStore) -> None:
    with pytest.raises(Invalid, match="no event type 'sav'"):
        await run(lake, pins, event_type="sav")
    future_ms = int((datetime.now(UTC) + timedelta(days=2)).timestamp() * 1000)
    with pytest.raises(Invalid, match="future"):
        await run(lake, pins, from_ms=future_ms, until_ms=future_ms + DAY_MS)
    assert list(_open_types(lake)) == []


def _open_types(lake: IcebergLake) -> Iterator[str]:
    yield from state(lake).open_runs


async def test_merged_events_of_an_empty_lake_have_no_columns(tmp_path: Path) -> None:
    assert merged_events(IcebergLake(str(tmp_path))).num_columns == 0


async def test_an_unknown_column_is_named(lake: IcebergLake) -> None:
    with pytest.raises(Invalid, match="nonsense"):
        merged_events(lake, ["nonsense"])


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.filterwarnings("ignore")
async def test_workers_of_ray_write_what_this_process_writes(
    lake: IcebergLake, pins: InMemoryPinStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray")
    monkeypatch.setattr(use_case, "MAX_CHUNK_ROWS", 2 * PER_DAY)
    other = IcebergLake(str(tmp_path / "other"))
    append(other, [saved(day, n) for day in range(NUM_DAYS) for n in range(PER_DAY)])
    definitions = without_bots(repository_definitions(), ["bot-", "user-3"])
    await run(lake, pins, definitions, days=3)
    done = await backfill(other, pins, definitions, order(definitions, days=3), lambda _: None, runtime="ray")
    assert 0 < done.run.num_filtered < 3 * PER_DAY
    assert done.run.num_kept + done.run.num_filtered == 3 * PER_DAY
    found, expected = (rows_of(each) for each in (other, lake))
    assert found == expected


def rows_of(lake: IcebergLake) -> dict[str, Event]:
    """Everything but when it was processed."""
    rows = merged_events(lake).drop_columns(["enriched_time_ms"]).to_pylist()
    return {row["event_id"]: row for row in rows}
