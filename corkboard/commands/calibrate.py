"""`calibrate ranker`: honest probabilities per surface and head for the model that serves, from what was shown."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType

from chassis.bundles import BundleStore
from chassis.errors import Invalid, NotFound
from corkboard import training
from corkboard.commands.output import Json, Output, table
from corkboard.local.home import Home
from corkboard.session import Endpoints

calibrate = typer.Typer(no_args_is_help=True, help="Fit probabilities anew, without another training.")


@calibrate.callback()
def _group() -> None:
    """Keeps `ranker` a command of its own while it is the only one."""


@calibrate.command()
def ranker(
    dataset: Annotated[str, typer.Option(help="Name of the dataset bundle to calibrate on.")] = "training",
    picture: Annotated[Path | None, typer.Option(help="Also draw reliability as a PNG of this name.")] = None,
    release: Annotated[bool, typer.Option(help="Tell the running leaves; else the version is only written.")] = True,
    json_: Json = False,
) -> None:
    """Platt scale and bias per surface and head on requests held out of training; errors before and after.

    Example: corkboard calibrate ranker --picture reliability.png
    """
    if picture is not None and picture.suffix != ".png":
        raise Invalid(f"--picture is {picture.name}; end its name in .png", field="picture")
    output, home = Output(json_), Home.from_environment()
    endpoints = Endpoints.of_running(home) if release else None
    report = training.calibrate_ranker(home, endpoints, _dataset(home, dataset), picture, output)
    if endpoints is not None:
        training.wait_until_serving(endpoints, "ranker-leaf", report["versions"])
    output.result(report, lambda: _draw(report))


def _dataset(home: Home, name: str) -> Path:
    store = BundleStore(str(home.bundles))
    versions = store.list(f"dataset-{name}")
    if not versions:
        raise NotFound(f"no dataset {name!r}; make one with: corkboard world, then corkboard train all")
    return store.open(versions[-1])


def _draw(report: Mapping[str, Any]) -> RenderableType:
    rows = [
        (
            name,
            f"{found['num_examples']:,.0f}",
            f"{found['num_positives']:,.0f}",
            f"{found['error_before']:.4f}",
            f"{found['error_after']:.4f}",
            f"{found['error_honest']:.4f}",
        )
        for name, found in report["calibration"].items()
    ]
    origin = "served feeds" if report["of_served"] else "sampled requests: nothing was served yet"
    columns = ("", "examples", "positives", "error before", "after", "by chance alone")
    title = f"calibration error, {origin}"
    return Group(table(title, columns, rows, right=columns[1:]), f"ranker {report['versions']['ranker']}")
