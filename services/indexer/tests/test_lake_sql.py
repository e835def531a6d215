"""SQL over the lake reads, and does nothing else, within its limits."""

import json
from pathlib import Path

import pyarrow as pa
import pytest

from chassis.errors import CorkboardError, DeadlineExceeded, Invalid, NotFound, Overloaded
from services.indexer.domain.lake_rows import Table, dated
from services.indexer.domain.lake_upkeep import UpkeepLimits
from services.indexer.offline.sql import QueryLimits, Question, main, query
from services.indexer.outbound.iceberg_lake import IcebergLake
from services.indexer.outbound.iceberg_upkeep import IcebergUpkeep
from services.indexer.tests.samples import envelope, event

EVENTS = Table.EVENTS.table_name


@pytest.fixture
def lake(tmp_path: Path) -> IcebergLake:
    """Three commits of 20 events, the last with a column more."""
    lake = IcebergLake(str(tmp_path / "la'ke"))
    for number in range(3):
        rows = pa.Table.from_batches([envelope([event(20 * number + each) for each in range(20)])])
        if number == 2:
            rows = rows.append_column("mood", pa.array(["good"] * 20))
        lake.append(Table.EVENTS, dated(rows, Table.EVENTS), dict(lake.coverage(Table.EVENTS)))
    return lake


def test_rows_of_all_files_are_found_with_columns_that_only_some_have(lake: IcebergLake) -> None:
    statement = "select count(*) as n, count(mood) as moods, min(event_id) as least from events_enriched e"
    assert query(lake, statement).to_pylist() == [{"n": 60, "moods": 20, "least": "event-0"}]
    joined = (
        "with a as (select * from events_enriched) select count(*) as n from a join events_enriched b using (event_id)"
    )
    assert query(lake, joined).to_pylist() == [{"n": 60}]


def test_a_filter_on_the_partition_and_a_projection_read_no_other_column(lake: IcebergLake) -> None:
    found = query(lake, "select event_date, event_type from events_enriched where event_type = 'save' limit 1")
    assert found.schema.names == ["event_date", "event_type"] and found.num_rows == 1
    assert query(lake, "select 1 from events_enriched where event_type = 'no'").num_rows == 0


def test_a_column_that_no_file_of_the_snapshot_has_is_null(lake: IcebergLake) -> None:
    oldest = IcebergUpkeep(lake.catalog).facts(EVENTS, UpkeepLimits()).snapshots[-1].snapshot_id
    found = query(lake, Question("select count(*) as n from events_enriched", {EVENTS: oldest}))
    assert found.to_pylist() == [{"n": 20}]


def test_an_expired_snapshot_is_refused(lake: IcebergLake) -> None:
    upkeep = IcebergUpkeep(lake.catalog)
    oldest = upkeep.facts(EVENTS, UpkeepLimits()).snapshots[-1].snapshot_id
    upkeep.expire(EVENTS, UpkeepLimits(keep_snapshots=1), 10**15)
    with pytest.raises(NotFound, match="expired"):
        query(lake, Question("select 1 from events_enriched", {EVENTS: oldest}))


@pytest.mark.parametrize(
    "statement",
    [
        "create table t (a int)",
        "select 1; select 2",
        "copy (select 1) to '{folder}/x'",
        "copy events_enriched to '{folder}/x'",
        "attach '{folder}/x'",
        "install httpfs",
        "pragma version",
        "set threads = 1",
        "select * from read_csv('/etc/passwd')",
        "select * from read_text('/etc/passwd')",
        "select * from glob('/etc/*')",
        "select * from '/etc/passwd'",
        "select * from read_parquet('{folder}/other.parquet')",
        "select getenv('HOME')",
        "select set_config('threads', '1', false)",
        "select nonsense",
        "select * from no_such_table",
        "delete from events_enriched",
        "explain analyze select 1",
        "",
    ],
)
def test_nothing_but_one_select_over_tables_is_answered(lake: IcebergLake, tmp_path: Path, statement: str) -> None:
    pa.parquet.write_table(pa.table({"a": [1]}), tmp_path / "other.parquet")
    with pytest.raises(Invalid):
        query(lake, statement.replace("{folder}", str(tmp_path)))
    assert not (tmp_path / "x").exists()


SLOW = "select sum(a.range * b.range) from range(1000000) a, range(1000000) b"
LARGE = "select list(repeat('x', 1000) || a.range) from range(1000000) a"
LONG = "select * from events_enriched"


@pytest.mark.parametrize(
    ("statement", "limits", "error", "what"),
    [
        (SLOW, QueryLimits(timeout_s=0.3), DeadlineExceeded, "timeout-s"),
        (LARGE, QueryLimits(max_memory_mb=50), Overloaded, "max-memory-mb"),
        (LONG, QueryLimits(max_rows=59), Invalid, "max-rows"),
    ],
)
def test_each_limit_is_an_error_that_names_it(
    lake: IcebergLake, statement: str, limits: QueryLimits, error: type[CorkboardError], what: str
) -> None:
    with pytest.raises(error, match=what):
        query(lake, statement, limits)
    assert query(lake, LONG, QueryLimits(max_rows=60)).num_rows == 60


def test_the_job_prints_one_json_object(
    lake: IcebergLake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("INDEXER_LAKE_DIR", str(tmp_path / "la'ke"))
    statement = "select event_id, event_date, attributes from events_enriched order by event_time_ms limit 1"
    assert main([statement]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["columns"] == ["event_id", "event_date", "attributes"]
    assert report["rows"] == [["event-0", "2025-06-15", "0 bytes: "]]
    assert main(["drop table x"]) == 1
    assert json.loads(capsys.readouterr().out)["error"]["status"] == "INVALID_ARGUMENT"
