"""Read-only SQL over the lake: `python -m services.indexer.offline.sql "select count(*) from events_enriched"`.

Prints one JSON object: {"columns": […], "rows": [[…]], …} or {"error": {…}}.
"""

import argparse
import json
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlparse

import duckdb
import pyarrow as pa

from chassis.config import load
from chassis.errors import CorkboardError, DeadlineExceeded, Invalid, Overloaded
from services.indexer.config import Config
from services.indexer.outbound.iceberg_lake import IcebergLake
from services.indexer.outbound.iceberg_upkeep import IcebergUpkeep
from services.indexer.wiring import iceberg_lake

TEXT_BYTES = 200  # of a binary value in the output


@dataclass(frozen=True)
class QueryLimits:
    """Beyond them a query is stopped with an error that names the limit."""

    max_rows: int = 10_000
    max_memory_mb: int = 1_024
    timeout_s: float = 60.0


NO_MORE = QueryLimits()


@dataclass(frozen=True)
class Question:
    """One SELECT; `at` names the snapshot of tables that are not to be read at their newest."""

    statement: str
    at: Mapping[str, int] = field(default_factory=dict)


def query(lake: IcebergLake, question: Question | str, limits: QueryLimits = NO_MORE) -> pa.Table:
    """The answer to one SELECT over the lake's tables; of files only what it needs is read.

    Raises: Invalid, NotFound for a snapshot that has expired, DeadlineExceeded, Overloaded, Unavailable.
    """
    asked = Question(question) if isinstance(question, str) else question
    with duckdb.connect(config=_settings(limits)) as connection, _translated(limits):
        _check(connection, asked.statement)
        _offer_tables(connection, lake, asked)
        with _interrupted_after(connection, limits.timeout_s):
            return _rows(connection.sql(asked.statement), limits)


def _settings(limits: QueryLimits) -> dict[str, Any]:
    return {
        "python_enable_replacements": False,
        "memory_limit": f"{limits.max_memory_mb}MB",
        "temp_directory": "",  # nothing is written, not even what does not fit
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "threads": 2,
    }


def _check(connection: duckdb.DuckDBPyConnection, statement: str) -> None:
    statements = connection.extract_statements(statement)
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        raise Invalid("exactly one SELECT is answered", field="statement", reason="not_a_select")


def _offer_tables(connection: duckdb.DuckDBPyConnection, lake: IcebergLake, asked: Question) -> None:
    """Views of the tables that are named, over the files of their snapshots; then the door is closed."""
    text = asked.statement.lower()
    named = {name for name in IcebergUpkeep(lake.catalog).names() if name in text}  # one too many does no harm
    paths: list[str] = []
    for name in sorted(named | set(asked.at)):
        schema, files = lake.files(name, asked.at.get(name))
        paths += _view(connection, name, schema, files)
    connection.execute(f"SET allowed_paths = [{', '.join(_quoted(path) for path in paths)}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def _view(connection: duckdb.DuckDBPyConnection, name: str, schema: pa.Schema, files: Sequence[str]) -> list[str]:
    """Returns the files that it reads."""
    if not files:
        connection.register(name, schema.empty_table())
        return []
    paths = [_local(name, file) for file in files]
    listed = f"[{', '.join(_quoted(path) for path in paths)}]"
    source = f"read_parquet({listed}, union_by_name = true, hive_partitioning = false)"
    connection.register(f"columns_of_{name}", schema.empty_table())  # of which older files lack some
    columns = ", ".join(f'"{column}"' for column in schema.names)
    every = f"FROM {source} UNION ALL BY NAME FROM columns_of_{name}"
    connection.execute(f'CREATE VIEW "{name}" AS SELECT {columns} FROM ({every})')  # noqa: S608 - our own names
    return paths


def _local(name: str, file: str) -> str:
    parts = urlparse(file)
    if parts.scheme not in ("", "file"):
        raise Invalid(f"table {name} lies at {parts.scheme}://, and SQL reads local files only", reason="remote_lake")
    return file.removeprefix("file://")


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _rows(relation: duckdb.DuckDBPyRelation | None, limits: QueryLimits) -> pa.Table:
    if relation is None:
        raise Invalid("exactly one SELECT is answered", field="statement", reason="not_a_select")
    reader, batches, num_rows = relation.to_arrow_reader(min(limits.max_rows + 1, 8_192)), [], 0
    for batch in reader:
        batches.append(batch)
        num_rows += batch.num_rows
        if num_rows > limits.max_rows:
            raise Invalid(
                f"the answer has more than {limits.max_rows:,} rows; add a LIMIT, or raise --max-rows",
                field="max-rows",
                reason="too_many_rows",
            )
    return pa.Table.from_batches(batches, schema=reader.schema)


@contextmanager
def _interrupted_after(connection: duckdb.DuckDBPyConnection, timeout_s: float) -> Iterator[None]:
    timer = threading.Timer(timeout_s, connection.interrupt)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()


@contextmanager
def _translated(limits: QueryLimits) -> Iterator[None]:
    try:
        yield
    except duckdb.InterruptException as error:
        raise DeadlineExceeded(
            f"not answered within {limits.timeout_s:g} s; ask for less, or raise --timeout-s", reason="too_slow"
        ) from error
    except duckdb.OutOfMemoryException as error:
        raise Overloaded(
            f"not answered within {limits.max_memory_mb} MB; ask for less, or raise --max-memory-mb",
            reason="too_large",
        ) from error
    except duckdb.Error as error:
        raise Invalid(f"not answered: {error}", field="statement", reason="bad_sql") from error


def _shown(value: Any) -> Any:
    """What JSON can say; of bytes only how many and how they begin."""
    if isinstance(value, bytes | bytearray):
        return f"{len(value)} bytes: {bytes(value[:TEXT_BYTES]).hex()}"
    return value


def _snapshot(text: str) -> tuple[str, int]:
    name, _, snapshot_id = text.partition("=")
    if not name or not snapshot_id.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not TABLE=SNAPSHOT_ID")
    return name, int(snapshot_id)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("statement", help="one SELECT over the tables of the lake")
    parser.add_argument("--at", action="append", type=_snapshot, default=[], metavar="TABLE=SNAPSHOT_ID")
    parser.add_argument("--max-rows", type=int, default=NO_MORE.max_rows)
    parser.add_argument("--max-memory-mb", type=int, default=NO_MORE.max_memory_mb)
    parser.add_argument("--timeout-s", type=float, default=NO_MORE.timeout_s)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """0 when it was answered; settings come from INDEXER_* like the service's."""
    options, started_s = _parser().parse_args(argv), time.monotonic()
    limits = QueryLimits(options.max_rows, options.max_memory_mb, options.timeout_s)
    try:
        lake = iceberg_lake(load(Config, "INDEXER_"))
        found = query(lake, Question(options.statement, dict(options.at)), limits)
        rows = [[_shown(value) for value in row.values()] for row in found.to_pylist()]
        report = {"columns": found.schema.names, "rows": rows, "duration_s": round(time.monotonic() - started_s, 3)}
        exit_code = 0
    except CorkboardError as error:
        report = {"error": {"status": error.status, "message": error.message, "field": error.field}}
        exit_code = 1
    sys.stdout.write(json.dumps(report, default=str, ensure_ascii=False) + "\n")
    return exit_code


if __name__ == "__main__":
    sys.exit(main())
