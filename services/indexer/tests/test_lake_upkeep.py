"""Merging files and expiring snapshots change nothing that a table or its tokens say."""

import asyncio
import threading
from functools import partial
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.errors import Conflict, NotFound
from chassis.metrics import Metrics
from chassis.process_memory import give_back
from chassis.testing import InMemoryBus, eventually
from services.indexer.app.keep_lake import KeepLake
from services.indexer.app.write_lake import LakeWriter
from services.indexer.domain.lake_rows import Covered, Table, dated
from services.indexer.domain.lake_upkeep import (
    DataFile,
    SnapshotAge,
    UpkeepLimits,
    groups_to_merge,
    snapshots_to_expire,
)
from services.indexer.domain.watermark import Run
from services.indexer.outbound import iceberg_upkeep
from services.indexer.outbound.iceberg_backfills import IcebergBackfills
from services.indexer.outbound.iceberg_files import write_rows
from services.indexer.outbound.iceberg_lake import IcebergLake
from services.indexer.outbound.iceberg_upkeep import IcebergUpkeep
from services.indexer.tests.conftest import CLOCK
from services.indexer.tests.samples import NOW_MS, envelope, event
from services.indexer.tests.test_lake import NEVER, SOON, event_ids, has_committed, lake_role, send

DAY_MS = 86_400_000
LATER_MS = 10**15  # every snapshot is old by then
LIMITS = UpkeepLimits(min_files=3, keep_snapshots=2)
EVENTS = Table.EVENTS.table_name


def append(lake: IcebergLake, rows: pa.Table, number: int) -> None:
    lake.coverage(Table.EVENTS)
    lake.append(Table.EVENTS, dated(rows, Table.EVENTS), {0: Covered(number + 1, number)})


def filled(folder: Path, num_commits: int = 7) -> IcebergLake:
    """Commits of two events each, on two days; a column more from the fifth on."""
    lake = IcebergLake(str(folder))
    for number in range(num_commits):
        rows = [event(2 * number + one, event_time_ms=NOW_MS - DAY_MS * one, pin_topics=["art"]) for one in (0, 1)]
        table = pa.Table.from_batches([envelope(rows)])
        if number >= 4:
            table = table.append_column("mood", pa.array(["good", None]))
        append(lake, table, number)
    return lake


def sorted_rows(lake: IcebergLake) -> list[dict[str, object]]:
    return sorted(lake.read(Table.EVENTS).to_pylist(), key=lambda row: str(row["event_id"]))


def files_on_disk(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.suffix in (".parquet", ".avro")}


def test_merging_keeps_rows_and_coverage_and_leaves_a_file_per_partition(tmp_path: Path) -> None:
    lake = filled(tmp_path)
    before, upkeep = sorted_rows(lake), IcebergUpkeep(lake.catalog)
    assert upkeep.facts(EVENTS, LIMITS).num_files == 14
    report = upkeep.compact(EVENTS, LIMITS)
    assert (report.num_files_before, report.num_files_after, report.num_rows) == (14, 2, 14)
    assert sorted_rows(lake) == before
    assert lake.coverage(Table.EVENTS) == {0: Covered(7, 6)}
    assert upkeep.facts(EVENTS, LIMITS).num_files == 2
    assert upkeep.compact(EVENTS, LIMITS).num_files_before == 0


def test_merged_rows_are_sorted_and_found_by_partition(tmp_path: Path) -> None:
    lake = filled(tmp_path)
    IcebergUpkeep(lake.catalog).compact(EVENTS, LIMITS)
    found = lake.catalog.load_table(f"corkboard.{EVENTS}").scan("event_date = '2025-06-15'").to_arrow()
    assert found.num_rows == 7
    times = found.column("event_time_ms").to_pylist()
    assert times == sorted(times)


def test_expiry_keeps_the_newest_snapshots_and_deletes_what_only_the_others_had(tmp_path: Path) -> None:
    lake = filled(tmp_path)
    upkeep = IcebergUpkeep(lake.catalog)
    upkeep.compact(EVENTS, LIMITS)
    rows, all_files = sorted_rows(lake), files_on_disk(tmp_path)
    before = upkeep.facts(EVENTS, LIMITS).snapshots
    report = upkeep.expire(EVENTS, LIMITS, LATER_MS)
    after = upkeep.facts(EVENTS, LIMITS).snapshots
    assert after == before[:2] and report.num_snapshots == len(before) - 2
    assert len(all_files) - len(files_on_disk(tmp_path)) == report.num_files > 10
    assert sorted_rows(lake) == rows
    assert lake.coverage(Table.EVENTS) == {0: Covered(7, 6)}
    for each in after:
        assert lake.read_at(EVENTS, each.snapshot_id).num_rows == 14


def test_a_snapshot_that_expired_is_refused_by_name(tmp_path: Path) -> None:
    lake = filled(tmp_path)
    upkeep = IcebergUpkeep(lake.catalog)
    oldest = upkeep.facts(EVENTS, LIMITS).snapshots[-1].snapshot_id
    assert lake.read_at(EVENTS, oldest).num_rows == 2
    upkeep.expire(EVENTS, LIMITS, LATER_MS)
    newest = upkeep.facts(EVENTS, LIMITS).snapshots[0].snapshot_id
    with pytest.raises(NotFound, match=f"{oldest}.*expired.*{newest}"):
        lake.read_at(EVENTS, oldest)


def test_young_snapshots_and_those_a_backfill_reads_stay(tmp_path: Path) -> None:
    lake = filled(tmp_path)
    upkeep = IcebergUpkeep(lake.catalog)
    snapshots = upkeep.facts(EVENTS, LIMITS).snapshots
    assert upkeep.expire(EVENTS, LIMITS, snapshots[0].time_ms).num_snapshots == 0
    source = snapshots[-1].snapshot_id
    run = Run("run-1", "save", 0, NOW_MS, "d-1", NOW_MS, source)
    IcebergBackfills(lake.catalog).begin(run, envelope([]).schema.append(pa.field("event_date", pa.date32())))
    upkeep.expire(EVENTS, LIMITS, LATER_MS)
    assert [each.snapshot_id for each in upkeep.facts(EVENTS, LIMITS).snapshots] == [
        *(each.snapshot_id for each in snapshots[:2]),
        source,
    ]


def test_upkeep_is_refused_when_another_writer_commits_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = filled(tmp_path)

    def slow(table: object, rows: pa.Table) -> object:
        append(IcebergLake(str(tmp_path)), pa.Table.from_batches([envelope([event(99)])]), 99)
        return write_rows(table, rows)  # type: ignore[arg-type]

    monkeypatch.setattr(iceberg_upkeep, "write_rows", slow)
    with pytest.raises(Conflict):
        IcebergUpkeep(lake.catalog).compact(EVENTS, LIMITS)
    monkeypatch.undo()
    assert len(event_ids(lake)) == 15
    referenced = {task.file.file_path for task in lake.catalog.load_table(f"corkboard.{EVENTS}").scan().plan_files()}
    assert len([each for each in files_on_disk(tmp_path) if each.endswith(".parquet")]) == len(referenced)


def test_the_committer_goes_on_after_somebody_elses_upkeep(tmp_path: Path) -> None:
    lake = filled(tmp_path)
    coverage = dict(lake.coverage(Table.EVENTS))
    IcebergUpkeep(IcebergLake(str(tmp_path)).catalog).compact(EVENTS, LIMITS)
    rows = dated(pa.Table.from_batches([envelope([event(99)])]), Table.EVENTS)
    lake.append(Table.EVENTS, rows, coverage | {0: Covered(8, 7)})
    assert len(event_ids(lake)) == 15


async def test_a_kill_after_upkeep_appends_nothing_twice(tmp_path: Path) -> None:
    bus, lake = InMemoryBus(), IcebergLake(str(tmp_path))
    async with lake_role(bus, lake):
        for number in range(4):
            send(bus, number)
            await eventually(partial(has_committed, bus, number + 1), within_s=20)
    upkeep = IcebergUpkeep(lake.catalog)
    assert upkeep.compact(EVENTS, LIMITS).num_files_before == 4
    upkeep.expire(EVENTS, UpkeepLimits(keep_snapshots=1), LATER_MS)
    assert len(upkeep.facts(EVENTS, LIMITS).snapshots) == 1
    bus.committed.clear()  # what Kafka was told is lost
    async with lake_role(bus, IcebergLake(str(tmp_path))):
        send(bus, 4)
        await eventually(lambda: len(event_ids(lake)) == 5, within_s=20)
    assert event_ids(lake) == [f"event-{number}" for number in range(5)]


async def test_a_round_keeps_every_table_between_the_commits(tmp_path: Path) -> None:
    lake = filled(tmp_path)
    writer, given_back = LakeWriter(lake, NEVER, CLOCK, Metrics("test")), threading.Event()
    keep = KeepLake(lambda: IcebergUpkeep(lake.catalog), writer, LIMITS, 60.0, CLOCK, Metrics("test"), given_back.set)
    async with writer.committing:
        waiting = asyncio.ensure_future(keep.round())
        await asyncio.sleep(0.2)
        assert IcebergUpkeep(lake.catalog).facts(EVENTS, LIMITS).num_files == 14
    await waiting
    assert given_back.is_set()
    assert IcebergUpkeep(lake.catalog).facts(EVENTS, LIMITS).num_files == 2


async def test_a_round_without_a_lake_only_counts(tmp_path: Path) -> None:
    metrics = Metrics("test")
    writer = LakeWriter(IcebergLake(str(tmp_path)), SOON, CLOCK, metrics)
    broken = IcebergLake(str(tmp_path), {"uri": "sqlite:////nowhere/at/all.db"})
    await KeepLake(lambda: IcebergUpkeep(broken.catalog), writer, LIMITS, 60.0, CLOCK, metrics, give_back).round()
    failed = metrics.counter("lake_upkeep_failures_total", "Rounds of upkeep that failed.", ("table",))
    assert failed.labels("catalog")._value.get() == 1


SIZES = st.lists(st.tuples(st.integers(0, 2), st.integers(1, 60), st.integers(1, 50)), max_size=40)


@given(SIZES)
def test_groups_have_each_small_file_at_most_once_and_stay_within_the_limits(
    files: list[tuple[int, int, int]],
) -> None:
    limits = UpkeepLimits(small_bytes=40, target_bytes=100, target_rows=90, min_files=3)
    given_files = [DataFile(str(place), *each) for place, each in enumerate(files)]
    groups = groups_to_merge(given_files, limits)
    chosen = [file.path for group in groups for file in group]
    assert len(chosen) == len(set(chosen))
    for group in groups:
        assert len(group) >= 3 and len({file.partition for file in group}) == 1
        assert all(file.num_bytes < 40 for file in group)
        assert sum(file.num_bytes for file in group) <= 100 and sum(file.num_rows for file in group) <= 90


@given(st.lists(st.integers(0, 100), unique=True), st.integers(1, 10), st.integers(0, 120))
def test_expiry_never_takes_the_newest_the_young_or_the_needed(times: list[int], keep: int, now_s: int) -> None:
    snapshots = [SnapshotAge(each, each * 1000) for each in times]
    gone = snapshots_to_expire(snapshots, {7, 8}, UpkeepLimits(keep_snapshots=keep, keep_s=30.0), now_s * 1000)
    newest = set(sorted(times)[-keep:])
    assert set(gone) == {each for each in times if each not in newest | {7, 8} and each < now_s - 30}
