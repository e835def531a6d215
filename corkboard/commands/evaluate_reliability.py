"""`evaluate reliability`: what the served probabilities were worth, from live data, as a table and as curves."""

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType

from chassis.errors import Invalid
from corkboard.commands.evaluate_ranker import app
from corkboard.commands.lake import run_job
from corkboard.commands.output import Json, Output, table

__all__ = ["app", "reliability"]


@app.command()
def reliability(
    picture: Annotated[Path | None, typer.Option(help="Also draw the curves as a PNG of this name.")] = None,
    hours: Annotated[float, typer.Option(min=0.01, help="Feeds of so many hours, the newest.")] = 24.0,
    window_s: Annotated[
        float, typer.Option(min=1, help="Time to act upon a shown pin; feeds younger than that are left out.")
    ] = 3_600.0,
    model: Annotated[str, typer.Option(help="Only pins that this version of the ranker scored.")] = "",
    json_: Json = False,
) -> None:
    """What the ranker said of shown pins against what people did with them, per surface and action: expected and
    observed actions, their ratio, the calibration error. The live metric says the same, see the dashboard of feeds.

    Example: corkboard evaluate reliability --picture reliability.png
    """
    if picture is not None and picture.suffix != ".png":
        raise Invalid(f"--picture is {picture.name}; end its name in .png", field="picture")
    output = Output(json_)
    with tempfile.TemporaryDirectory(prefix="corkboard-reliability-") as folder:
        shown = f"{folder}/shown.parquet"
        with output.progress("measuring", 2) as advance:
            wanted = ["--out", shown, "--hours", str(hours), "--window-s", str(window_s)]
            period = run_job(["served_outcomes", *wanted], output)["result"]
            advance(1)
            asked = ["--shown", shown, "--model", model, *(["--picture", str(picture.resolve())] if picture else [])]
            report = run_job(["reliability", *asked], output, service="ranker")["result"]
            advance(1)
    if picture is not None:
        output.say(f"wrote {picture}")
    result = {**period, **report, "window_s": window_s}
    output.result(result, lambda: Group(*_drawn(result)))


def _drawn(result: Mapping[str, Any]) -> Iterator[RenderableType]:
    columns = ("", "shown", "expected", "observed", "observed / expected", "calibration error")
    rows = [
        (
            name,
            f"{row['num_examples']:,}",
            f"{row['expected']:,.1f}",
            f"{row['observed']:,}",
            "-" if row["observed_over_expected"] is None else f"{row['observed_over_expected']:.2f}",
            f"{row['error']:.4f}",
        )
        for name, row in result["heads"].items()
    ]
    title = f"{result['num_shown']:,} shown pins, actions within {result['window_s']:g} s"
    yield table(title, columns, rows, right=columns[1:])
    yield "scored by " + ", ".join(f"ranker {name} ({count:,})" for name, count in result["models"].items())
