"""Training rows in the lake: labels, the sequence as of each request, each day once however often it is written."""

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.errors import Conflict, Invalid, NotFound
from sequences.sequence_value import from_value
from sequences.training_reader import ReadOptions, TrainingReader
from services.indexer.domain.lake_rows import FEED_COLUMNS, Table, dated
from services.indexer.domain.point_in_time import Asked, visible
from services.indexer.offline import day_files
from services.indexer.offline.fill_lake import Order, fill
from services.indexer.outbound.iceberg_days import IcebergDays
from services.indexer.outbound.iceberg_lake import IcebergLake
from services.indexer.tests.samples import NOW_MS, definitions, envelope, event

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
DAY = datetime.fromtimestamp(NOW_MS / 1000, UTC).date()
ORDER = Order(DAY, DAY)


def request(
    number: int, user_id: str = "user-1", time_ms: int = NOW_MS, pins: int = 3, **values: Any
) -> list[dict[str, Any]]:
    """A live request, served `pins` pins."""
    given_values = {"request_id": f"r-{number}", "user_id": user_id, "surface": "home", "served_time_ms": time_ms}
    return [
        given_values | {"sequence_version": 1, "pin_id": f"pin-{number}-{n}", "position": n, "score": 0.5} | values
        for n in range(pins)
    ]


def add(lake: IcebergLake, table: Table, rows: pa.Table) -> None:
    lake.append(table, dated(rows, table), dict(lake.coverage(table)))


def add_events(lake: IcebergLake, *events: dict[str, Any]) -> None:
    add(lake, Table.EVENTS, pa.Table.from_batches([envelope(events)]))


def add_feeds(lake: IcebergLake, *rows: dict[str, Any]) -> None:
    add(lake, Table.FEEDS, pa.Table.from_pylist(list(rows), schema=FEED_COLUMNS))


def run(
    lake: IcebergLake, table: str = "training_rows", order: Order = ORDER, max_events: int = 2048
) -> dict[str, Any]:
    return fill(lake, definitions(max_events), table, order, lambda _: None)


def rows_of(lake: IcebergLake, name: str = "training_rows") -> list[dict[str, Any]]:
    """Sequences decoded to event ids."""
    rows = lake.catalog.load_table(f"corkboard.{name}").scan().to_arrow().to_pylist()
    column = "sequence" if name == "training_rows" else "events"
    return [row | {column: from_value(row[column]).column("event_id").to_pylist()} for row in rows]


@pytest.fixture
def lake(tmp_path: Path) -> IcebergLake:
    """Two users; user-1 asked twice, saved a served pin of the first request, and did things in between."""
    lake = IcebergLake(str(tmp_path))
    add_events(
        lake,
        event(1),
        event(2, event_type="click", definitions_version="d-0"),
        event(3, event_type="hide"),
        event(4, event_time_ms=NOW_MS + 5, received_time_ms=NOW_MS + 5, pin_id="pin-1-1"),
        event(5, event_time_ms=NOW_MS - 10, received_time_ms=NOW_MS + HOUR_MS),
        event(6, event_time_ms=NOW_MS + 25 * HOUR_MS, received_time_ms=NOW_MS + 25 * HOUR_MS, pin_id="pin-1-2"),
        event(7, user_id="user-0"),
    )
    add_feeds(
        lake,
        *request(2, time_ms=NOW_MS + 1000),
        *request(1),
        *request(1),
        *request(3, user_id="user-0", sequence_version=0, query="cats"),
        *request(9, time_ms=NOW_MS + 3 * DAY_MS),
    )
    return lake


def test_rows_are_sorted_labelled_and_see_what_the_request_saw(lake: IcebergLake) -> None:
    assert run(lake)["num_rows"] == 9
    rows = rows_of(lake)
    assert [(row["user_id"], row["request_id"], row["position"]) for row in rows] == [
        ("user-0", "r-3", 0), ("user-0", "r-3", 1), ("user-0", "r-3", 2),
        ("user-1", "r-1", 0), ("user-1", "r-1", 1), ("user-1", "r-1", 2),
        ("user-1", "r-2", 0), ("user-1", "r-2", 1), ("user-1", "r-2", 2),
    ]  # fmt: skip
    seen = {row["request_id"]: row["sequence"] for row in rows}
    assert seen == {"r-3": ["event-7"], "r-1": ["event-1", "event-2"], "r-2": ["event-1", "event-2", "event-4"]}
    assert {row["request_id"]: row["num_events"] for row in rows} == {"r-3": 1, "r-1": 2, "r-2": 3}
    assert [row["pin_id"] for row in rows if row["saved"]] == ["pin-1-1"]
    assert not any(row["hidden"] for row in rows)
    assert (rows[0]["query"], rows[3]["query"], rows[3]["subject_pin_id"]) == ("cats", "", "")


def test_an_event_that_arrived_after_a_live_request_is_not_seen_and_after_an_imported_one_it_is(
    lake: IcebergLake,
) -> None:
    add_feeds(lake, *request(4, sequence_version=0, time_ms=NOW_MS))
    run(lake)
    seen = {row["request_id"]: row["sequence"] for row in rows_of(lake)}
    assert "event-5" not in seen["r-1"] and "event-5" in seen["r-4"]


def test_the_newest_events_of_the_limit_are_kept(lake: IcebergLake) -> None:
    run(lake, max_events=1)
    assert {row["request_id"]: row["sequence"] for row in rows_of(lake)}["r-2"] == ["event-4"]


def test_the_same_order_again_commits_nothing_and_a_late_label_replaces_its_day_only(lake: IcebergLake) -> None:
    order = Order(DAY, date.fromordinal(DAY.toordinal() + 3))
    assert run(lake, order=order)["num_changed_days"] == 2
    before = lake.catalog.load_table("corkboard.training_rows").current_snapshot()
    assert run(lake, order=order)["num_changed_days"] == 0
    assert lake.catalog.load_table("corkboard.training_rows").current_snapshot() == before
    rows = rows_of(lake)
    add_events(lake, event(8, event_time_ms=NOW_MS + 100, received_time_ms=NOW_MS + DAY_MS, pin_id="pin-1-0"))
    report = run(lake, order=order)
    assert (report["num_changed_days"], report["num_rows"]) == (2, len(rows))  # the later day sees the event as well
    after = rows_of(lake)
    assert len(after) == len(rows)
    assert [row["pin_id"] for row in after if row["saved"]] == ["pin-1-0", "pin-1-1"]


def test_a_crash_before_the_commit_leaves_the_old_day_and_no_file(
    lake: IcebergLake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(lake)
    before, files = rows_of(lake), sorted(tmp_path.rglob("training_rows/**/*.parquet"))
    add_feeds(lake, *request(5))

    def crash(*_: object) -> None:
        raise RuntimeError("killed")

    monkeypatch.setattr(day_files, "_add", crash)
    with pytest.raises(RuntimeError, match="killed"):
        run(lake)
    monkeypatch.undo()
    assert (rows_of(lake), sorted(tmp_path.rglob("training_rows/**/*.parquet"))) == (before, files)
    assert run(lake)["num_rows"] == 12


def test_a_day_that_has_no_rows_any_more_is_emptied(lake: IcebergLake) -> None:
    run(lake)
    kind = day_files.TRAINING_TABLE
    days = IcebergDays(lake.catalog)
    assert list(days.digests(kind.name)) == [DAY.isoformat()]
    assert days.replace(kind, DAY, day_files.write_training_rows(list))[1]
    assert (days.digests(kind.name), rows_of(lake)) == ({}, [])


def test_a_second_writer_is_refused(lake: IcebergLake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(lake)
    add_feeds(lake, *request(5))
    digest_of = day_files._add

    def meanwhile(digest: Any, table: pa.Table) -> None:
        monkeypatch.setattr(day_files, "_add", digest_of)
        run(IcebergLake(str(tmp_path)))
        digest_of(digest, table)

    monkeypatch.setattr(day_files, "_add", meanwhile)
    with pytest.raises(Conflict):
        run(lake)
    assert len(rows_of(lake)) == 12


def test_files_of_the_table_are_read_deduplicated(lake: IcebergLake) -> None:
    run(lake)
    table = lake.catalog.load_table("corkboard.training_rows")
    files = [task.file.file_path.removeprefix("file://") for task in table.scan().plan_files()]
    [batch] = TrainingReader(files, ReadOptions(10))
    assert batch.request_features.column("request_id").to_pylist() == ["r-3", "r-1", "r-2"]
    assert batch.row_to_request.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    with pq.ParquetFile(files[0], read_dictionary=["sequence"]) as file:
        [chunk] = file.read_row_group(0).column("sequence").chunks
        assert len(chunk.dictionary) == 3


def test_sequences_have_a_row_per_user_and_day(lake: IcebergLake) -> None:
    order = Order(date.fromordinal(DAY.toordinal() - 1), date.fromordinal(DAY.toordinal() + 1))
    assert run(lake, "sequences", order)["num_changed_days"] == 2
    rows = rows_of(lake, "sequences")
    found = {(row["user_id"], row["bucket_date"].toordinal() - DAY.toordinal()): row["events"] for row in rows}
    assert found == {
        ("user-0", 0): ["event-7"],
        ("user-1", 0): ["event-1", "event-2", "event-5", "event-4"],
        ("user-1", 1): ["event-6"],
    }
    assert all(row["num_events"] == len(row["events"]) for row in rows)
    assert run(lake, "sequences", order)["num_changed_days"] == 0


def test_what_cannot_be_filled_is_said(lake: IcebergLake) -> None:
    with pytest.raises(NotFound, match="engagement"):
        run(lake, order=Order(DAY, DAY, sequence="nothing"))
    with pytest.raises(Invalid, match="days"):
        run(lake, order=Order(DAY, date(2000, 1, 1)))


def test_an_empty_lake_gives_no_rows(tmp_path: Path) -> None:
    assert run(IcebergLake(str(tmp_path)))["num_rows"] == 0


EVENT_TIMES = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 20)), max_size=30)


@given(EVENT_TIMES, st.integers(0, 80), st.booleans(), st.integers(1, 70), st.integers(1, 40))
def test_a_request_sees_exactly_what_a_slow_reading_of_the_rule_says(
    events: list[tuple[int, int]], served: int, is_live: bool, window: int, limit: int
) -> None:
    times = sorted(time for time, _ in events)
    received = [time + lag for time, (_, lag) in zip(times, events, strict=True)]
    places = visible(np.array(times, np.int64), np.array(received, np.int64), Asked(served, is_live), window, limit)
    expected = [
        place
        for place, (time, arrived) in enumerate(zip(times, received, strict=True))
        if served - window <= time < served and (arrived <= served or not is_live)
    ]
    assert places.tolist() == expected[-limit:]
