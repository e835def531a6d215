"""`train cg`: one generator from training rows, with a bar; a killed training goes on with --resume."""

from typing import Annotated, Any

import typer

from chassis.errors import Invalid
from corkboard.commands.evaluation import train as app
from corkboard.commands.output import Json, Output, pairs
from corkboard.commands.training_jobs import CHECKPOINTS, LAKE, dataset_folder, run_job
from corkboard.local.home import Home
from corkboard.session import Endpoints

__all__ = ["app", "cg"]

JOB = "services.cg.offline.train_generator"
GENERATORS, DEVICES, RUNTIMES = ("contextual", "shopping"), ("auto", "cpu", "cuda"), ("local", "ray")


@app.command()
def cg(
    generator: Annotated[str, typer.Option(help=f"{' or '.join(GENERATORS)}.")],
    data: Annotated[str, typer.Option(help="lake, or the folder of a dataset with training rows.")] = LAKE,
    seed: Annotated[int, typer.Option(help="The same seed and data make the same model.")] = 17,
    epochs: Annotated[int, typer.Option(min=0, help="Passes over the rows; 0 = the usual number.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with this seed's unfinished training.")] = False,
    device: Annotated[str, typer.Option(help=f"{', '.join(DEVICES)}; auto takes a GPU if there is one.")] = "auto",
    runtime: Annotated[str, typer.Option(help=f"{' or '.join(RUNTIMES)}: one process or several.")] = "local",
    workers: Annotated[int, typer.Option(min=1, help="Processes of --runtime ray.")] = 2,
    release: Annotated[bool, typer.Option("--release", help="Announce the model when it is trained.")] = False,
    json_: Json = False,
) -> None:
    """Train one generator of cg on training rows, each request's history read once, and write its bundle.

    The end of the time is held out: its first half ends the training when nothing is learnt any more, its second half
    judges the model. --data lake and --release need Corkboard to run.

    Example: corkboard train cg --generator shopping --data lake --release
    """
    _check("generator", generator, GENERATORS)
    _check("device", device, DEVICES)
    _check("runtime", runtime, RUNTIMES)
    output, home = Output(json_), Home.from_environment()
    home.create()
    arguments = ["--generator", generator, "--dataset", dataset_folder(home, data, output), "--seed", str(seed)]
    arguments += ["--bundles-uri", str(home.bundles), "--checkpoints", str(home.root / CHECKPOINTS)]
    arguments += ["--num-epochs", str(epochs), "--device", device, "--runtime", runtime, "--num-workers", str(workers)]
    arguments += ["--resume"] if resume else []
    if release:
        arguments += ["--release", "--kafka-bootstrap", Endpoints.of_running(home).kafka]
    report = run_job(JOB, arguments, f"training {generator}", output)
    output.result(report, lambda: pairs(f"trained {generator}", _shown(report)))


def _check(field: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise Invalid(f"--{field} is {value!r}, must be one of {', '.join(known)}", field=field)


def _shown(report: dict[str, Any]) -> dict[str, Any]:
    """A few lines of the report."""
    rows: dict[str, Any] = {**report["versions"], "released": report["is_released"], "resumed": report["is_resumed"]}
    for protocol, models in report["evaluation"].items():
        for name, figures in models.items():
            if isinstance(figures, dict):
                shown = ", ".join(f"{key} {figures[key]:.3f}" for key in ("recall@10", "recall@100") if key in figures)
                rows[f"{name}, {protocol.replace('_', ' ')}"] = shown
    return {**rows, "seconds": report["duration_s"]}
