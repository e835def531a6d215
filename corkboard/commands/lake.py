"""`sql` and `lake`: look into the tables of the lake, keep them small, write those that batch owns."""

import json
import os
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import chain
from typing import Annotated, Any

import typer

from chassis.errors import (
    Conflict,
    CorkboardError,
    Corrupt,
    DeadlineExceeded,
    Invalid,
    NotFound,
    Overloaded,
    Unavailable,
)
from corkboard.commands.output import Json, Output, pairs, table
from corkboard.local.home import Home
from corkboard.session import Endpoints

app = typer.Typer(no_args_is_help=True, help="Tables of the lake.")
ERRORS: dict[str, type[CorkboardError]] = {
    each.status: each for each in (Conflict, Corrupt, Invalid, NotFound, Overloaded, Unavailable, DeadlineExceeded)
}
DAY = "%Y-%m-%d"
LAST_LINES = 20  # of what a job said, shown when it fails
CELL = 80  # characters of a value shown to people


def sql(
    statement: Annotated[str, typer.Argument(help="One SELECT.")],
    at: Annotated[list[str] | None, typer.Option(help="TABLE=SNAPSHOT_ID, to read an older snapshot.")] = None,
    max_rows: Annotated[int, typer.Option(min=1, help="More rows are an error.")] = 10_000,
    max_memory_mb: Annotated[int, typer.Option(min=10, help="More memory is an error.")] = 1_024,
    timeout_s: Annotated[float, typer.Option(min=0.1, help="More time is an error.")] = 60.0,
    json_: Json = False,
) -> None:
    """Ask the lake in SQL: one SELECT over its tables, which are listed by `corkboard lake tables`. Changes nothing.

    Example: corkboard sql "select event_type, count(*) as events from events_enriched group by all"
    """
    limits = ["--max-rows", str(max_rows), "--max-memory-mb", str(max_memory_mb), "--timeout-s", str(timeout_s)]
    places = [argument for each in at or () for argument in ("--at", each)]
    report = run_job(["sql", *limits, *places, "--", statement], Output(json_))
    rows = [[_cell(value) for value in row] for row in report["rows"]]
    title = f"{len(rows):,} row{'s' if len(rows) != 1 else ''} in {report['duration_s']:g} s"
    Output(json_).result(report, lambda: table(title, report["columns"], rows))


@app.command()
def tables(json_: Json = False) -> None:
    """Every table: rows, files, bytes, snapshots.

    Example: corkboard lake tables
    """
    output = Output(json_)
    report = run_job(["lake", "tables"], output)
    columns = ("table", "rows", "files", "small files", "MB", "snapshots", "newest snapshot")
    rows = [
        (
            each["name"],
            f"{each['num_rows']:,}",
            each["num_files"],
            each["num_small_files"],
            f"{each['num_bytes'] / 1e6:,.1f}",
            len(each["snapshots"]),
            each["snapshot_id"] or "-",
        )
        for each in report["tables"]
    ]
    output.result(report, lambda: table("lake", columns, rows, right=columns[1:]))


@app.command()
def compact(
    name: Annotated[str, typer.Argument(help="Which table; all by default.")] = "",
    min_files: Annotated[int, typer.Option(min=2, help="Small files of a partition that are worth merging.")] = 8,
    json_: Json = False,
) -> None:
    """Merge small files. The indexer does this by itself; it may commit meanwhile, and then this is refused.

    Example: corkboard lake compact events_enriched
    """
    _upkeep(["compact", "--min-files", str(min_files)], name, "merged", Output(json_))


@app.command()
def expire(
    name: Annotated[str, typer.Argument(help="Which table; all by default.")] = "",
    keep: Annotated[int, typer.Option(min=1, help="Newest snapshots that stay.")] = 20,
    keep_s: Annotated[float, typer.Option(min=0, help="Snapshots younger than this stay.")] = 3_600.0,
    json_: Json = False,
) -> None:
    """Let old snapshots go, and the files that only they had. What readers see now stays.

    Example: corkboard lake expire --keep 5
    """
    _upkeep(["expire", "--keep", str(keep), "--keep-s", str(keep_s)], name, "expired", Output(json_))


@app.command()
def fill(
    name: Annotated[str, typer.Argument(help="training_rows or sequences.")],
    first: Annotated[datetime, typer.Option("--from", formats=[DAY], help="First day, UTC, such as 2026-01-31.")],
    last: Annotated[datetime, typer.Option("--to", formats=[DAY], help="Last day, included.")],
    sequence: Annotated[str, typer.Option(help="Of the active definitions.")] = "engagement",
    json_: Json = False,
) -> None:
    """Write the days of a table anew from events and served feeds; days that say the same stay as they are.

    Example: corkboard lake fill training_rows --from 2026-01-01 --to 2026-01-31
    """
    output, days = Output(json_), ["--from", f"{first:{DAY}}", "--to", f"{last:{DAY}}"]
    settings = {"INDEXER_KAFKA_BOOTSTRAP": Endpoints.of_running(Home.from_environment()).kafka}
    report = run_job(["fill_lake", name, *days, "--sequence", sequence], output, settings)
    output.result(report["result"], lambda: pairs("filled", report["result"]))


def _upkeep(arguments: list[str], name: str, what: str, output: Output) -> None:
    report = run_job(["lake", arguments[0], *([name] if name else []), *arguments[1:]], output)
    columns = list(report["tables"][0]) if report["tables"] else ["name"]
    rows = [[each[column] for column in columns] for each in report["tables"]]
    output.result(report, lambda: table(what, columns, rows, right=columns[1:]))


def run_job(
    arguments: list[str], output: Output, settings: dict[str, str] | None = None, service: str = "indexer"
) -> dict[str, Any]:
    """What an offline job of a service reports, in a process of its own. Raises: what the job says, Unavailable."""
    home = Home.from_environment()
    environment = {"INDEXER_LAKE_DIR": str(home.lake), "INDEXER_BUNDLES_URI": str(home.bundles)}
    with (
        subprocess.Popen(  # noqa: S603  # this interpreter, our modules
            [sys.executable, "-m", f"services.{service}.offline.{arguments[0]}", *arguments[1:]],
            env=environment | os.environ | (settings or {}),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as job
    ):
        assert job.stdout is not None  # noqa: S101  # it is a pipe
        said: deque[str] = deque(maxlen=LAST_LINES)
        report = _last(_shown(_objects(job.stdout, said), output))
    if "error" in report:
        raise ERRORS.get(report["error"]["status"], Unavailable)(report["error"]["message"])
    if job.returncode != 0 or not report:
        raise Unavailable(f"{arguments[0]} ended with code {job.returncode}\n{''.join(said)}")
    return report


def _objects(lines: Iterable[str], said: deque[str]) -> Iterator[dict[str, Any]]:
    for line in lines:
        try:
            found = json.loads(line)
        except ValueError:
            found = None
        if isinstance(found, dict):
            yield found
        else:
            said.append(line)


def _last(objects: Iterable[dict[str, Any]]) -> dict[str, Any]:
    report: dict[str, Any] = {}
    for each in objects:
        report = each
    return report


def _shown(objects: Iterator[dict[str, Any]], output: Output) -> Iterator[dict[str, Any]]:
    """Draws progress as a bar, hands on the rest."""
    first = next(objects, None)
    if first is None:
        return
    if "progress" not in first:
        yield first
        yield from objects
        return
    shown = 0
    with output.progress(first["progress"]["phase"], first["progress"]["total"]) as advance:
        for each in chain([first], objects):
            if "progress" in each:
                done = each["progress"].get("done", shown + 1)
                advance(done - shown)
                shown = done
            else:
                yield each


def _cell(value: Any) -> str:
    text = "" if value is None else str(value)
    return text if len(text) <= CELL else f"{text[: CELL - 1]}…"
