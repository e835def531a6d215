"""`replay`: what changed definitions would make of the feeds that were served, before they ship."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from typing import Annotated, Any

import typer
from rich.console import Group

from chassis.errors import CorkboardError, NotFound, Unavailable
from corkboard import releases
from corkboard.commands import parity_versions
from corkboard.commands.definitions import Folder
from corkboard.commands.output import Json, Output, table
from corkboard.local.certificates import job_environment
from corkboard.local.home import Home
from corkboard.session import Endpoints

ROWS = (
    ("feeds", "num_feeds", ""),
    ("feeds that change", "changed_feeds_share", "%"),
    ("slots with another pin", "moved_slots_share", "%"),
    ("pins new on their page", "entered_share", "%"),
    ("served as replayed today", "as_served_share", "%"),
)
MEASURES = (
    ("ILAD@10", "ilad_at_10"),
    ("topics@10", "topics_at_10"),
    ("longest run of a topic", "longest_run"),
    ("relevance kept", "relevance_kept"),
    ("mean spacing penalty", "mean_spacing_penalty"),
)
ERRORS: dict[str, type[CorkboardError]] = {NotFound.status: NotFound}


def replay(
    folder: Folder = None,
    surface: Annotated[str, typer.Option(help="One surface; all by default.")] = "",
    last: Annotated[int, typer.Option(min=1, max=100_000, help="Newest first pages.")] = 500,
    json_: Json = False,
) -> None:
    """Fill logged pages again under the definitions in a folder, and compare: what moves, how varied, how relevant.

    Compares with the active definitions and changes nothing. Later pages are left out: they depend on earlier ones.

    Example: corkboard replay --folder definitions --surface home
    """
    output, home = Output(json_), Home.from_environment()
    endpoints = Endpoints.of_running(home)
    after = releases.compile_to_bundle(str(home.bundles), folder)
    before = parity_versions.in_use(endpoints).definitions
    report = run_job(home, endpoints, [before.version, after.version], surface, last, output)
    output.result(report, lambda: _show(report))


def run_job(
    home: Home, endpoints: Endpoints, versions: list[str], surface: str, last: int, output: Output
) -> dict[str, Any]:
    """The job in a process of its own. Raises: NotFound when nothing can be replayed, Unavailable."""
    arguments = {
        "--kafka-bootstrap": endpoints.kafka,
        "--indexer-target": endpoints.address("indexer"),
        "--bundles-uri": str(home.bundles),
        "--before": versions[0],
        "--after": versions[1],
        "--surface": surface,
        "--last": str(last),
    }
    flat = [part for pair in arguments.items() for part in pair]
    with subprocess.Popen(  # noqa: S603  # this interpreter, our modules
        [sys.executable, "-m", "services.blender.offline.replay", *flat],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | job_environment(endpoints.certificates),
    ) as job:
        assert job.stdout is not None and job.stderr is not None  # noqa: S101  # they are pipes
        said = _progress(job.stderr, output)
        printed = job.stdout.read()
    report: dict[str, Any] = json.loads(printed) if printed.strip() else {}
    if "error" in report:
        raise ERRORS.get(report["error"]["status"], Unavailable)(report["error"]["message"])
    if job.returncode != 0:
        raise Unavailable(f"replay ended with code {job.returncode}\n{said}")
    return report


def _progress(lines: Iterable[str], output: Output) -> str:
    """Show how far it is; returns the last other line."""
    other = ""
    for line in lines:
        try:
            found = json.loads(line)
            output.say(f"replayed {found['done']:,} of {found['of']:,} feeds")
        except (ValueError, KeyError, TypeError):
            other = line
    return other


def _show(report: dict[str, Any]) -> Group:
    tables = []
    for surface, found in report["surfaces"].items():
        rows = [(title, _value(found[key], unit), "") for title, key, unit in ROWS]
        rows += [(title, f"{found['before'][key]:.3f}", f"{found['after'][key]:.3f}") for title, key in MEASURES]
        rows += [(f"dry run of {name}", "", f"moves {moves:,}") for name, moves in found["dry_run_moves"].items()]
        title = f"{surface}: {report['before'][:12]} -> {report['after'][:12]}"
        tables.append(table(title, ("", "before", "after"), rows, right=("before", "after")))
    return Group(*tables)


def _value(value: float, unit: str) -> str:
    return f"{100 * value:.1f} %" if unit == "%" else f"{value:,}"
