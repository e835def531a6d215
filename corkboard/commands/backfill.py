"""`backfill`: run a range of history through enrichments again, publish it in one step, refresh the online stores."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.console import Group

from chassis.errors import CorkboardError, Unavailable
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
    refresh_online: Annotated[bool, typer.Option(help="Then bring it into the online store of every zone.")] = True,
    only_refresh: Annotated[bool, typer.Option("--only-refresh", help="Of a range that is published.")] = False,
    json_: Json = False,
) -> None:
    """Enrich events of the lake again; readers of the lake see all of it at the end, or nothing. After a kill, run it
    again: it goes on. Late and corrected events come once. Then the sequences that people are served from take the new
    values, while events flow in; if that part is cut, run it again with --only-refresh.

    Example: corkboard backfill --event-type save --from 2026-01-01 --to 2026-01-31
    """
    output, home = Output(json_), Home.from_environment()
    asked = ["--event-type", event_type, "--from", f"{first:{DAY}}", "--to", f"{last:{DAY}}"]
    report: dict[str, Any] = {}
    if not only_refresh:
        how = ["--runtime", runtime.value, *(["--restart"] if restart else [])]
        how += ["--definitions", definitions] if definitions else []
        report |= run_job(["backfill", *asked, *how], output, _settings(home))["result"]
    if refresh_online or only_refresh:
        report["online"] = [_refreshed(asked, output, home, zone) for zone in Endpoints.zones(home)]
    output.result(report, lambda: _shown(report))


def _refreshed(asked: list[str], output: Output, home: Home, zone: str) -> dict[str, Any]:
    """What changed in the store of a zone. Raises: Unavailable, telling how to go on."""
    try:
        refreshed: dict[str, Any] = run_job(["refresh", *asked], output, _settings(home, zone))["result"]
    except CorkboardError as error:
        raise Unavailable(
            f"published, but the online store of {zone} is not refreshed; run it again with --only-refresh: "
            f"{error.message}"
        ) from error
    return refreshed


def _settings(home: Home, zone: str = "") -> dict[str, str]:
    return job_settings(home, Endpoints.of_running(home, zone), zone)


def _shown(report: dict[str, Any]) -> Group:
    tables = [pairs(f"online store of {each['zone']}", each) for each in report.get("online", ())]
    published = {name: value for name, value in report.items() if name != "online"}
    return Group(*([pairs("published", published)] if published else []), *tables)
