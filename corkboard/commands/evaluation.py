"""`train` and `evaluate`: offline jobs and the quality of what is served."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType

from chassis.clock import SYSTEM_CLOCK
from corkboard import training
from corkboard.commands.output import Json, Output, pairs, table
from corkboard.evaluation.feed import evaluate as evaluate_feed
from corkboard.local.home import Home
from corkboard.movielens.reader import MovieLens
from corkboard.session import Endpoints, run

train = typer.Typer(no_args_is_help=True, help="Train models from the lake and release them.")
evaluate = typer.Typer(no_args_is_help=True, help="Measure what is served.")

Dataset = Annotated[str, typer.Option(help="Name of the dataset bundle to write.")]


@train.command(name="all")
def train_all(dataset: Dataset = "training", json_: Json = False) -> None:
    """Export the data, train cg and ranker, release, and wait until both serve.

    Example: corkboard train all
    """
    output, home = Output(json_), Home.from_environment()
    report = train_everything(home, Endpoints.of_running(home), dataset, output)
    output.result(report, lambda: pairs("trained", {name: part.get("versions", "") for name, part in report.items()}))


def train_everything(home: Home, endpoints: Endpoints, dataset: str, output: Output) -> dict[str, Any]:
    """The whole offline chain; returns each job's report."""
    exported = training.export_dataset(home, endpoints, dataset, output)
    reports: dict[str, Any] = {"dataset": exported}
    for service, process in (("cg", "cg"), ("ranker", "ranker-leaf")):
        reports[service] = training.train(home, endpoints, service, exported["path"], output)
        training.wait_until_serving(endpoints, process, reports[service]["versions"])
    return reports


@evaluate.command()
def feed(
    path: Annotated[Path, typer.Argument(help="Folder with ml-100k.inter and ml-100k.item.")], json_: Json = False
) -> None:
    """Hit rate and NDCG@10 of real feeds on MovieLens (chronological leave-last-out) against baselines.

    Example: corkboard evaluate feed path/to/ml-100k
    """
    output = Output(json_)
    data = MovieLens.read(path, SYSTEM_CLOCK.now_ms())
    report = run(Endpoints.of_running(Home.from_environment()), lambda session: evaluate_feed(session, data, output))
    output.result(report, lambda: _draw(report))


def _draw(report: dict[str, Any]) -> RenderableType:
    rows = [
        (
            row["name"],
            _with_interval(row["hit_rate"]),
            _with_interval(row["ndcg"]),
            _with_interval(row["feed_minus_this"]) if "feed_minus_this" in row else "",
        )
        for row in report["results"]
    ]
    columns = ("", f"hit rate@{report['k']}", f"NDCG@{report['k']}", "feed minus this (NDCG)")
    latency = report["latency_ms"]
    return Group(
        table(f"leave-last-out over {report['users']} users, all unseen items", columns, rows),
        f"GetFeed p50 {latency['p50']} ms, p99 {latency['p99']} ms; degraded feeds: {report['degraded_feeds']}",
    )


def _with_interval(value: dict[str, float]) -> str:
    return f"{value['mean']:.4f} [{value['low']:.4f}, {value['high']:.4f}]"
