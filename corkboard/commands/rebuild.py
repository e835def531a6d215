"""`rebuild`: fill the online store of a zone again from the lake and the log."""

import json
import os
import subprocess
import sys
from collections import deque
from collections.abc import Iterable
from contextlib import ExitStack
from typing import Annotated, Any

import typer

from chassis.errors import Unavailable
from corkboard.commands.output import Json, Output, pairs
from corkboard.local.home import Home
from corkboard.session import Endpoints

LAST_LINES = 20  # of what the job said, shown when it fails
READ_TIMEOUT_S = "5"  # nobody waits for a feed here


def rebuild(
    zone: Annotated[str, typer.Option(help="Which zone's store; the first one by default.")] = "",
    digest: Annotated[bool, typer.Option("--digest", help="Add a digest of each sequence, to compare stores.")] = False,
    json_: Json = False,
) -> None:
    """Fill the online store again after it was lost; events may come in meanwhile. After a kill, run it again.

    Example: corkboard rebuild --zone az-a
    """
    output, home = Output(json_), Home.from_environment()
    report = run_job(home, Endpoints.of_running(home, zone), zone, digest, output)
    output.result(report, lambda: pairs("rebuilt", report))
    if report.get("num_gone_from_log"):
        output.say(f"{report['num_gone_from_log']:,} records are neither in the lake nor in the log any more")
        raise typer.Exit(1)


def run_job(home: Home, endpoints: Endpoints, zone: str, with_digest: bool, output: Output) -> dict[str, Any]:
    """The job in a process of its own, its progress as bars; returns its report. Raises: Unavailable."""
    arguments = ["services.indexer.offline.rebuild", "--json", *(["--digest"] if with_digest else [])]
    with subprocess.Popen(  # noqa: S603  # this interpreter, our modules
        [sys.executable, "-m", *arguments],
        env=os.environ | job_settings(home, endpoints, zone),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as job:
        assert job.stdout is not None and job.stderr is not None  # noqa: S101  # they are pipes
        said = _show(job.stderr, output)
        printed = job.stdout.read()
    if job.returncode != 0:
        raise Unavailable(f"rebuild ended with code {job.returncode}; run it again, it goes on\n{''.join(said)}")
    report: dict[str, Any] = json.loads(printed)
    return report


def job_settings(home: Home, endpoints: Endpoints, zone: str) -> dict[str, str]:
    """What the job reads from its environment."""
    return {
        "INDEXER_ZONE": zone or "local",
        "INDEXER_KAFKA_BOOTSTRAP": endpoints.kafka,
        "INDEXER_BUNDLES_URI": str(home.bundles),
        "INDEXER_LAKE_DIR": str(home.lake),
        "INDEXER_STATE_DIR": str(home.service_state("indexer-offline")),
        "INDEXER_REDIS_URL": f"redis://127.0.0.1:{endpoints.ports.valkey(endpoints.zone_index)}/0",
        "INDEXER_READ_TIMEOUT_S": READ_TIMEOUT_S,
    }


def _show(lines: Iterable[str], output: Output) -> deque[str]:
    """One bar per phase; returns the last lines that are no progress."""
    said: deque[str] = deque(maxlen=LAST_LINES)
    phase, shown = "", 0
    with ExitStack() as bar:
        advance = None
        for line in lines:
            event = _progress(line)
            if event is None:
                said.append(line)
                continue
            if event["phase"] != phase:
                bar.close()
                phase, shown = event["phase"], 0
                advance = bar.enter_context(output.progress(phase, event["total"]))
            if advance is not None:
                advance(event["done"] - shown)
            shown = event["done"]
    return said


def _progress(line: str) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) and {"phase", "done", "total"} <= found.keys() else None
