"""`backfill`: run a range of history through enrichments again, and publish it in one step."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated

import typer

from corkboard.commands.lake import run_job
from corkboard.commands.output import Json, Output, pairs
from corkboard.commands.rebuild import job_settings
from corkboard.local.home import Home
from corkboard.session import Endpoints

DAY = "%Y-%m-%d"


class Runtime(StrEnum):
    """Where the enrichments run."""

    LOCAL = "local"
    RAY = "ray"


def backfill(
    event_type: Annotated[str, typer.Option(help="Events of one type.")],
    first: Annotated[datetime, typer.Option("--from", formats=[DAY], help="First day, UTC, such as 2026-01-31.")],
    last: Annotated[datetime, typer.Option("--to", formats=[DAY], help="Last day, included.")],
    definitions: Annotated[str, typer.Option(help="Version to run under; the active one by default.")] = "",
    runtime: Annotated[Runtime, typer.Option(help="In one process here, or in workers of Ray.")] = Runtime.LOCAL,
    restart: Annotated[bool, typer.Option("--restart", help="Give up an unfinished backfill of the type.")] = False,
    json_: Json = False,
) -> None:
    """Enrich events of the lake again; readers of the lake see all of it at the end, or nothing. After a kill, run it
    again: it goes on. Late and corrected events come once. The online store keeps what the stream made of them until
    it is filled anew: drain the zone, empty its store, `corkboard rebuild --zone ZONE`.

    Example: corkboard backfill --event-type save --from 2026-01-01 --to 2026-01-31
    """
    output, home = Output(json_), Home.from_environment()
    arguments = ["backfill", "--event-type", event_type, "--from", f"{first:{DAY}}", "--to", f"{last:{DAY}}"]
    arguments += ["--definitions", definitions] if definitions else []
    arguments += ["--runtime", runtime.value]
    arguments += ["--restart"] if restart else []
    report = run_job(arguments, output, job_settings(home, Endpoints.of_running(home), ""))["result"]
    output.result(report, lambda: pairs("published", report))
