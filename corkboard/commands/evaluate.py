"""`evaluate cg`: recall of every generator against its baselines, and across versions, as tables and as a picture."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType

from chassis.bundles import BundleStore
from chassis.errors import Invalid, NotFound, Unavailable
from corkboard.commands.evaluation import evaluate as app
from corkboard.commands.evaluation_chart import chart
from corkboard.commands.output import Json, Output, table
from corkboard.local.home import Home

__all__ = ["app", "cg", "evaluation_data", "evaluation_job"]

RECALLS = ("recall@10", "recall@100", "recall@1000")
MOVIELENS_FILE = "ml-100k.inter"
JOB = "services.cg.offline.evaluate"


@app.command()
def cg(
    movielens: Annotated[
        Path | None, typer.Option(help=f"Folder with {MOVIELENS_FILE}: MovieLens-100K beside the world.")
    ] = None,
    dataset: Annotated[
        str, typer.Option(help="Dataset that train all exported; left out when there is none.")
    ] = "training",
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each learnt model.")] = 3,
    version_skew: Annotated[
        bool, typer.Option("--version-skew", help="Instead: recall when the index, or stored states, are older.")
    ] = False,
    picture: Annotated[Path | None, typer.Option(help="Also write the tables as an SVG of this name.")] = None,
    json_: Json = False,
) -> None:
    """Recall@{10,100,1000} of cg's generators per surface against popularity, item-kNN, EASE and SASRec.

    Chronological leave-last-out, all unseen pins ranked, 95 % intervals over users and seeds. Trains every model
    anew: minutes per seed and dataset.

    Example: corkboard evaluate cg --movielens path/to/ml-100k --picture recall.svg
    """
    if picture is not None and picture.suffix != ".svg":
        raise Invalid(f"--picture is {picture.name}; a picture is an SVG: end its name in .svg", field="picture")
    output = Output(json_)
    options = ["--num-seeds", str(seeds), *(["--version-skew"] if version_skew else [])]
    reports = [evaluation_job(output, JOB, [*data, *options]) for data in evaluation_data(movielens, dataset)]
    if picture is not None:
        picture.write_text("".join(_pictures(reports)))
        output.say(f"wrote {picture}")
    output.result(reports, lambda: Group(*(drawn for report in reports for drawn in _tables(report))))


def evaluation_data(movielens: Path | None, dataset: str) -> list[list[str]]:
    """What to evaluate on, as arguments of the job. Raises: NotFound when there is nothing."""
    found: list[list[str]] = []
    store = BundleStore(str(Home.from_environment().bundles))
    versions = store.list(f"dataset-{dataset}")
    if versions:
        found.append(["--dataset", str(store.open(versions[-1]))])
    if movielens is not None:
        path = movielens / MOVIELENS_FILE
        if not path.is_file():
            raise NotFound(f"there is no {MOVIELENS_FILE} in {movielens}; it comes with MovieLens-100K of RecBole")
        found.append(["--movielens", str(path)])
    if not found:
        raise NotFound(
            f"no dataset {dataset!r} to evaluate on; make one with: corkboard world, then corkboard train all; "
            "or give --movielens FOLDER"
        )
    return found


def evaluation_job(output: Output, job: str, arguments: Sequence[str]) -> dict[str, Any]:
    """Run the offline job in a process of its own; its steps move a bar. Raises: Unavailable with its last words."""
    argv = [sys.executable, "-m", job, *arguments, "--json", "--steps"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:  # noqa: S603
        if child.stdout is None or child.stderr is None:
            raise Unavailable("the evaluation has no pipes to read from")
        said = list(_bar(output, f"evaluating {Path(arguments[1]).name}", child.stderr))
        result = child.stdout.read()
    if child.returncode != 0:
        raise Unavailable(f"the evaluation failed with code {child.returncode}\n{''.join(said)[-2_000:]}")
    report: dict[str, Any] = json.loads(result)
    return report


def _bar(output: Output, what: str, lines: Iterator[str] | Any) -> Iterator[str]:
    """Move a bar by the lines that are steps; yield the others."""
    with ExitStack() as bars:
        advance = None
        for line in lines:
            if not line.startswith('{"done"'):
                yield line
                continue
            step = json.loads(line)
            advance = advance or bars.enter_context(output.progress(what, step["total"]))
            advance(1)


def _tables(report: Mapping[str, Any]) -> Iterator[RenderableType]:
    if "version_skew" in report:
        yield from _skew_tables(report["data"], report["version_skew"])
        return
    for title, models in _surfaces(report):
        rows = [
            (name, *(_interval(row[each]) for each in RECALLS), f"{row['ndcg@10']:.3f}") for name, row in models.items()
        ]
        yield table(title, ("", *RECALLS, "NDCG@10"), rows)
    for peer, found in report.get("contextual_minus", {}).items():
        differences = "  ".join(f"{name} {_interval(each)}" for name, each in found.items())
        yield f"contextual minus {peer}, paired: {differences}"


def _skew_tables(data: str, report: Mapping[str, Any]) -> Iterator[RenderableType]:
    columns = ("recall@10", "recall@100")
    rows = [
        (regime, name, *(_interval(row[each]) for each in columns))
        for regime, versions in report["index_version"].items()
        for name, row in versions.items()
    ]
    people = f"{report['num_users']} users, seeds {report['seeds']}"
    yield table(f"{data}, {people}: queries of version v", ("versions are", "index of", *columns), rows)
    rows = [(n, *(_interval(row[each]) for each in columns)) for n, row in report["state_behind_events"].items()]
    yield table("stored states behind the history", ("events behind", *columns), rows)


def _surfaces(report: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    head = f"{report['data']}, {report['num_pins']:,} pins, seeds {report['seeds']}"
    yield f"{head}: home, {report['num_users']} users", report["models"]
    if "related" in report:
        yield f"{head}: related, {report['related']['num_requests']} requests", report["related"]["models"]


def _pictures(reports: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """One SVG around all tables, one below the other."""
    drawn: list[str] = []
    for report in reports:
        if "version_skew" in report:
            rows = report["version_skew"]["index_version"].items()
            models = {f"{regime}, {name}": row for regime, of in rows for name, row in of.items()}
            drawn.append(chart(f"{report['data']}: queries of v, index of", models, ("recall@10", "recall@100")))
        else:
            drawn += [chart(title, models, RECALLS) for title, models in _surfaces(report)]
    yield _stacked(drawn)


def _stacked(drawn: Sequence[str]) -> str:
    """Pictures below each other in one file."""
    sizes = [
        tuple(int(number) for number in each.split('viewBox="0 0 ', 1)[1].split('"', 1)[0].split()) for each in drawn
    ]
    width, height = max(size[0] for size in sizes), sum(size[1] for size in sizes)
    parts, y = [], 0
    for each, (_, own_height) in zip(drawn, sizes, strict=True):
        parts.append(each.replace("<svg ", f'<svg y="{y}" ', 1))
        y += own_height
    inner = "".join(parts)
    size = f'width="{width}" height="{height}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif">{inner}</svg>\n'


def _interval(found: Mapping[str, float]) -> str:
    return f"{found['mean']:.3f} [{found['low']:.3f}, {found['high']:.3f}]"
