"""`diagnose ranker`: whether the ranking model is given online what it is trained on."""

import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType

from chassis.clock import SYSTEM_CLOCK
from corkboard.commands.lake import run_job
from corkboard.commands.output import Json, Output, table
from corkboard.commands.rebuild import job_settings
from corkboard.local.home import Home
from corkboard.session import Endpoints

app = typer.Typer(no_args_is_help=True, help="Find out what is wrong.")

MS_PER_H = 3_600_000
SHARES = {"different_share": "differ", "defaulted_share": "defaulted", "missing_share": "missing"}
SCORED_WITH = {  # what a bar of the histogram is of; the rest is told apart by itself
    "model:ranker": "ranker",
    "definitions:sequence": "sequence",
    "definitions:weights": "weights",
    "content_vector": "vectors",
}
SKEWED = 1


@app.callback()
def _group() -> None:
    """Keeps `ranker` a command of its own while it is the only one."""


@app.command()
def ranker(
    last: Annotated[int, typer.Option(min=1, max=100_000, help="Logged rankings to compare, the newest.")] = 1_000,
    hours: Annotated[float, typer.Option(min=0.01, help="None older than this.")] = 24.0,
    settle_s: Annotated[
        float, typer.Option(min=0, help="What was enriched so shortly before a ranking may not have reached it.")
    ] = 60.0,
    max_share: Annotated[
        float, typer.Option(min=0, max=1, help="Exit with 1 when a larger share of a feature's values is off.")
    ] = 0.001,
    zone: Annotated[str, typer.Option(help="Whose online store; the first one by default.")] = "",
    json_: Json = False,
) -> None:
    """Compare the features that rankings were served with and those that training computes for the same user, time and
    pin: per feature the share of values that differ, were defaulted online or are missing offline, and which versions
    ranked. Needs logged rankings: RANKER_FEATURE_LOG_SHARE of the root. Events that came too late for a ranking, and
    pins that have changed since, are counted and not held against it. Exits with 1 when a share is above --max-share.

    Example: corkboard diagnose ranker --last 5000 --max-share 0.01
    """
    output, home = Output(json_), Home.from_environment()
    settings = job_settings(home, Endpoints.of_running(home, zone), zone)
    since_ms = SYSTEM_CLOCK.now_ms() - round(hours * MS_PER_H)
    with tempfile.TemporaryDirectory(prefix="corkboard-diagnose-") as folder:
        wanted = ["--out", folder, "--since-ms", str(since_ms), "--last", str(last)]
        run_job(["served_features", *wanted], output, settings)
        report = run_job(["feature_check", "--folder", folder, "--settle-s", str(settle_s)], output, service="ranker")
    result = report["result"] | {"max_share": max_share, "skewed": skewed(report["result"], max_share)}
    output.result(result, lambda: Group(*drawn(result)))
    if result["skewed"]:
        raise typer.Exit(SKEWED)


def skewed(report: Mapping[str, Any], max_share: float) -> list[str]:
    """Features with a share above the limit."""
    return [name for name, row in report["features"].items() if max(row[share] for share in SHARES) > max_share]


def drawn(result: Mapping[str, Any]) -> Iterator[RenderableType]:
    """Tables for people."""
    columns = ("feature", "values", *SHARES.values(), "unknown", "changed")
    rows = [
        (
            name,
            f"{row['num_values']:,}",
            *(f"{row[share]:.2%}" for share in SHARES),
            f"{row['num_unknown']:,}",
            f"{row['num_changed']:,}",
        )
        for name, row in result["features"].items()
    ]
    yield table(f"{result['num_rankings']:,} rankings, online against training", columns, rows, right=columns[1:])
    events = result["events"]
    yield f"events too late for their ranking: {events['late']:,}; from clocks that are ahead: {events['ahead']:,}"
    if events["rankings_without_sequence"]:
        yield f"rankings whose sequence could not be read: {events['rankings_without_sequence']:,}"
    rows = [(name, f"{row['unknown_share']:.2%}", row["why"]) for name, row in result["not_compared"].items()]
    if rows:
        yield table("not compared", ("feature", "unknown", "why"), rows, right=("unknown",))
    yield from _versions(result["versions"], result["num_rankings"])
    for name in result["skewed"]:
        yield f"{name} is off in more than {result['max_share']:.2%} of its values, such as:"
        for each in result["features"][name]["examples"]:
            yield f"  {each['user_id']} {each['row']}: online {each['online']}, training {each['training']}"


def _versions(rows: list[dict[str, Any]], num_rankings: int) -> Iterator[RenderableType]:
    """Which versions scored together, then those of whatever made the candidates."""
    together: Counter[tuple[str, ...]] = Counter()
    apart: Counter[tuple[str, str]] = Counter()
    for row in rows:
        together[tuple(row.get(name, "") for name in SCORED_WITH)] += row["num_rankings"]
        apart.update(
            {(name, row[name]): row["num_rankings"] for name in row.keys() - {"num_rankings"} - SCORED_WITH.keys()}
        )
    lines = [(f"{count / num_rankings:.1%}", *key) for key, count in together.most_common()]
    yield table("what ranked", ("rankings", *SCORED_WITH.values()), lines, right=("rankings",))
    lines = [(f"{count / num_rankings:.1%}", *key) for key, count in sorted(apart.items())]
    if lines:
        yield table(
            "of what candidates were made with", ("rankings", "artefact", "version"), lines, right=("rankings",)
        )
