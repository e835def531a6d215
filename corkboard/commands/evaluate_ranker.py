"""`evaluate ranker`: the ranking model against its baselines, order and probabilities, and against what is expected."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType

from chassis.errors import Invalid
from corkboard.commands.evaluate import app, evaluation_data, evaluation_job
from corkboard.commands.evaluation_chart import chart
from corkboard.commands.output import Json, Output, table

__all__ = ["app", "ranker"]

JOB = "services.ranker.offline.compare"
HEAD_METRICS = ("auc", "ndcg@10", "log_loss", "calibration_error")


@app.command()
def ranker(
    movielens: Annotated[
        Path | None, typer.Option(help="Folder with ml-100k.inter: MovieLens-100K beside the world.")
    ] = None,
    dataset: Annotated[
        str, typer.Option(help="Dataset that train all exported; left out when there is none.")
    ] = "training",
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each model.")] = 3,
    expected: Annotated[
        Path | None, typer.Option(help="JSON of expected NDCG@10 ± tolerance by data and model; exit 1 if one is off.")
    ] = None,
    picture: Annotated[Path | None, typer.Option(help="Also write NDCG@10 as an SVG of this name.")] = None,
    json_: Json = False,
) -> None:
    """NDCG@10 of the ranker, logistic regression, DeepFM, SASRec, recency-weighted EASE and retrieval's order.

    Chronological leave-last-out over all unseen pins, 95 % intervals over users and seeds, differences paired; AUC,
    NDCG@10, log loss and calibration error per head and surface. Trains every model anew: minutes per seed and dataset.

    Example: corkboard evaluate ranker --movielens path/to/ml-100k --expected expected.json
    """
    if picture is not None and picture.suffix != ".svg":
        raise Invalid(f"--picture is {picture.name}; a picture is an SVG: end its name in .svg", field="picture")
    wanted = _expected(expected)
    output = Output(json_)
    options = ["--num-seeds", str(seeds)]
    reports = [evaluation_job(output, JOB, [*data, *options]) for data in evaluation_data(movielens, dataset)]
    misses = [miss for report in reports for miss in _misses(report, wanted)]
    if picture is not None:
        models = {f"{r['data']}: {name}": {"ndcg@10": row} for r in reports for name, row in r["ndcg@10"].items()}
        picture.write_text(chart("NDCG@10 on each user's last new pin", models, ("ndcg@10",)))
        output.say(f"wrote {picture}")
    result = {"reports": reports, "misses": misses}
    output.result(result, lambda: Group(*(drawn for report in reports for drawn in _tables(report)), *misses))
    if misses:
        raise typer.Exit(1)


def _expected(path: Path | None) -> Mapping[str, Mapping[str, Mapping[str, float]]]:
    """Data -> model -> `expected` and `tolerance`. Raises: Invalid when the file is not of that form."""
    if path is None:
        return {}
    try:
        found: dict[str, dict[str, dict[str, float]]] = json.loads(path.read_text())
        for models in found.values():
            for row in models.values():
                float(row["expected"]), float(row["tolerance"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        form = '{data: {model: {"expected": number, "tolerance": number}}}'
        raise Invalid(f"{path} must be of the form {form}: {error}", field="expected") from None
    return found


def _misses(report: Mapping[str, Any], wanted: Mapping[str, Mapping[str, Mapping[str, float]]]) -> Iterator[str]:
    """Models that are further from what is expected than their tolerance."""
    for model, row in wanted.get(report["data"], {}).items():
        found = report["ndcg@10"].get(model)
        if found is None or abs(found["mean"] - row["expected"]) > row["tolerance"]:
            value = "was not measured" if found is None else f"is {found['mean']:.4f}"
            yield f"{report['data']}: NDCG@10 of {model} {value}, expected {row['expected']} ± {row['tolerance']}"


def _tables(report: Mapping[str, Any]) -> Iterator[RenderableType]:
    rows = []
    for name, row in report["ndcg@10"].items():
        difference = report["ours_minus"].get(name)
        rows.append((name, _interval(row), _interval(difference) if difference else ""))
    title = f"{report['data']}: {report['num_users']} users, seeds {report['seeds']}"
    yield table(title, ("", "NDCG@10", "ranker minus it, paired"), rows)
    heads = [
        (name, view, *(f"{found[metric]:.4f}" for metric in HEAD_METRICS))
        for name, views in report["heads"].items()
        for view, found in views.items()
    ]
    yield table("probabilities on held-out requests", ("", "head", *HEAD_METRICS), heads, right=HEAD_METRICS)


def _interval(found: Mapping[str, float]) -> str:
    return f"{found['mean']:+.4f} [{found['low']:+.4f}, {found['high']:+.4f}]"
