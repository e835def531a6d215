"""`train ranker`: one model for all surfaces, with a bar; a killed training goes on with --resume."""

from pathlib import Path
from typing import Annotated, Any

import typer

from corkboard.commands.evaluate import MOVIELENS_FILE
from corkboard.commands.output import Json, Output, pairs
from corkboard.commands.train_cg import app
from corkboard.commands.training_jobs import CHECKPOINTS, LAKE, dataset_folder, run_job
from corkboard.local.home import Home
from corkboard.session import Endpoints

__all__ = ["app", "ranker"]

JOB = "services.ranker.offline.train"


@app.command()
def ranker(
    data: Annotated[
        str, typer.Option(help=f"lake, the folder of a dataset, or one with {MOVIELENS_FILE} of MovieLens-100K.")
    ] = LAKE,
    seed: Annotated[int, typer.Option(help="The same seed and data make the same model.")] = 17,
    foresight_epochs: Annotated[int, typer.Option(min=-1, help="Passes over histories; -1 = the usual number.")] = -1,
    epochs: Annotated[int, typer.Option(min=0, help="Passes over requests; 0 = the usual number.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with this seed's unfinished training.")] = False,
    name: Annotated[str, typer.Option(help="Name of the bundle; another one for a variant on trial.")] = "ranker",
    per_surface: Annotated[
        bool, typer.Option("--per-surface", help="Also write NAME-SURFACE, with that surface's tower alone.")
    ] = False,
    release: Annotated[bool, typer.Option("--release", help="Announce the model when it is trained.")] = False,
    json_: Json = False,
) -> None:
    """Train the ranker: first what comes next in histories, then what was chosen of candidates; calibrate, evaluate.

    Requests come from training rows where feeds were served. Every tenth user teaches nothing: they calibrate and
    judge. --data lake and --release need Corkboard to run.

    Example: corkboard train ranker --data lake --release
    """
    output, home = Output(json_), Home.from_environment()
    home.create()
    arguments = [*_data(home, data, output), "--seed", str(seed), "--name", name, "--bundles-uri", str(home.bundles)]
    arguments += ["--checkpoints", str(home.root / CHECKPOINTS), *(["--resume"] if resume else [])]
    arguments += ["--num-epochs", str(epochs)] if epochs else []
    arguments += ["--num-foresight-epochs", str(foresight_epochs)] if foresight_epochs >= 0 else []
    arguments += ["--per-surface"] if per_surface else []
    if release:
        arguments += ["--release", "--kafka-bootstrap", Endpoints.of_running(home).kafka]
    report = run_job(JOB, arguments, f"training {name}", output)
    output.result(report, lambda: pairs(f"trained {name}", _shown(report)))


def _data(home: Home, data: str, output: Output) -> list[str]:
    if (Path(data) / MOVIELENS_FILE).is_file():
        return ["--movielens", str(Path(data) / MOVIELENS_FILE)]
    return ["--dataset", dataset_folder(home, data, output)]


def _shown(report: dict[str, Any]) -> dict[str, Any]:
    """A few lines of the report."""
    rows: dict[str, Any] = {**report["versions"], "released": report["is_released"], "resumed": report["is_resumed"]}
    for name, found in report["evaluation"]["leave_last_out"].items():
        rows[f"{name}, last new pin of each user"] = f"NDCG@10 {found['ndcg@10']:.3f}"
    for name, found in report["evaluation"]["heads"].items():
        rows[name] = f"AUC {found['auc']:.3f}, calibration error {found['calibration_error']:.4f}"
    return {**rows, "seconds": report["duration_s"]}
