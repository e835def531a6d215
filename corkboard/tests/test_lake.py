"""`corkboard sql` and `corkboard lake` over a real lake, as a person runs them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import sys
from services.indexer.domain.lake_rows import Table, dated
from services.indexer.outbound.iceberg_lake import IcebergLake
import pyarrow as pa
lake = IcebergLake(sys.argv[1])
for n in range(4):
    rows = pa.table({"key": [f"k{n}"], "window_start_ms": [1_750_000_000_000], "admitted": [float(n)]})
    lake.append(Table.USAGE, dated(rows, Table.USAGE), dict(lake.coverage(Table.USAGE)))
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """With four commits in `quota_usage`."""
    subprocess.run([sys.executable, "-c", CODE, str(tmp_path / "lake")], check=True)  # noqa: S603 - ours
    return tmp_path


def run(home: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(  # noqa: S603 - ours
        [sys.executable, "-m", "corkboard", *arguments],
        capture_output=True,
        text=True,
        env=os.environ | {"CORKBOARD_HOME": str(home), "NO_COLOR": "1", "COLUMNS": "120"},
        check=False,
    )


def test_a_select_is_answered_as_a_table_and_as_json(home: Path) -> None:
    statement = "select key, admitted from quota_usage where admitted > 1 order by key"
    assert json.loads(run(home, "sql", statement, "--json").stdout)["rows"] == [["k2", 2.0], ["k3", 3.0]]
    shown = run(home, "sql", statement).stdout
    assert "admitted" in shown and "k3" in shown and "k1" not in shown


def test_what_is_refused_says_why_and_fails(home: Path) -> None:
    for statement, code, what in [
        ("drop table quota_usage", 2, "exactly one SELECT"),
        ("select * from read_text('/etc/passwd')", 2, "not answered"),
    ]:
        done = run(home, "sql", statement)
        assert (done.returncode, done.stdout) == (code, "") and what in done.stderr
    done = run(home, "sql", "select * from quota_usage", "--max-rows", "3")
    assert done.returncode == 2 and "--max-rows" in done.stderr


def test_tables_are_listed_compacted_and_expired(home: Path) -> None:
    [before] = json.loads(run(home, "lake", "tables", "--json").stdout)["tables"]
    assert (before["name"], before["num_rows"], before["num_files"]) == ("quota_usage", 4, 4)
    [merged] = json.loads(run(home, "lake", "compact", "--min-files", "2", "--json").stdout)["tables"]
    assert (merged["num_files_before"], merged["num_files_after"]) == (4, 1)
    [expired] = json.loads(run(home, "lake", "expire", "--keep", "1", "--keep-s", "0", "--json").stdout)["tables"]
    assert expired["num_snapshots"] == 4
    [after] = json.loads(run(home, "lake", "tables", "--json").stdout)["tables"]
    assert (after["num_rows"], after["num_files"], len(after["snapshots"])) == (4, 1, 1)
    old = f"quota_usage={before['snapshot_id']}"
    done = run(home, "sql", "select count(*) from quota_usage", "--at", old)
    assert done.returncode == 3 and "expired" in done.stderr


def test_an_unknown_table_is_named(home: Path) -> None:
    done = run(home, "lake", "compact", "nothing")
    assert done.returncode == 3 and "quota_usage" in done.stderr
