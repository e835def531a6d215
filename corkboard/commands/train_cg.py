"""`train cg`: one generator from training rows, with a bar; a killed training goes on with --resume."""

import json
import subprocess
import sys
from collections import deque
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer

from chassis.errors import CorkboardError, Invalid, NotFound, Unavailable
from corkboard import training
from corkboard.commands.evaluation import train as app
from corkboard.commands.output import Json, Output, pairs
from corkboard.local.home import Home
from corkboard.session import Endpoints

__all__ = ["app", "cg"]

JOB = "services.cg.offline.train_generator"
LAKE = "lake"
DATASET = "training"
CHECKPOINTS = "unfinished-trainings"
GENERATORS, DEVICES, RUNTIMES = ("contextual", "shopping"), ("auto", "cpu", "cuda"), ("local", "ray")
ERRORS: dict[str, type[CorkboardError]] = {"INVALID_ARGUMENT": Invalid, "NOT_FOUND": NotFound}
LAST_LINES = 20  # of what a job said, shown when it fails


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
    arguments = ["--generator", generator, "--dataset", _dataset(home, data, output), "--seed", str(seed)]
    arguments += ["--bundles-uri", str(home.bundles), "--checkpoints", str(home.root / CHECKPOINTS)]
    arguments += ["--num-epochs", str(epochs), "--device", device, "--runtime", runtime, "--num-workers", str(workers)]
    arguments += ["--resume"] if resume else []
    if release:
        arguments += ["--release", "--kafka-bootstrap", Endpoints.of_running(home).kafka]
    report = run_job(arguments, f"training {generator}", output)
    output.result(report, lambda: pairs(f"trained {generator}", _shown(report)))


def run_job(arguments: list[str], what: str, output: Output) -> dict[str, Any]:
    """What the job reports, in a process of its own; its steps move a bar. Raises: what the job says, Unavailable."""
    argv = [sys.executable, "-m", JOB, *arguments, "--json", "--steps"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as job:  # noqa: S603
        if job.stdout is None or job.stderr is None:
            raise Unavailable("the training has no pipes to read from")
        try:
            said = _bar(what, job.stderr, output)
            result = job.stdout.read()
        except BaseException:
            job.kill()  # its checkpoint is what --resume goes on with
            raise
    found = _last_object(result)
    if "error" in found:
        raise ERRORS.get(found["error"]["status"], Unavailable)(found["error"]["message"])
    if job.returncode != 0 or not found:
        raise Unavailable(f"{what} failed with code {job.returncode}\n{''.join(said)}")
    return found


def _bar(what: str, lines: Iterable[str], output: Output) -> list[str]:
    """Move a bar by the lines that are steps; the last of the others."""
    said: deque[str] = deque(maxlen=LAST_LINES)
    shown = 0
    with ExitStack() as bars:
        advance = None
        for line in lines:
            if not line.startswith('{"done"'):
                said.append(line)
                continue
            step = json.loads(line)
            advance = advance or bars.enter_context(output.progress(what, step["total"]))
            advance(step["done"] - shown)  # a resumed one begins in the middle
            shown = step["done"]
    return list(said)


def _last_object(text: str) -> dict[str, Any]:
    for line in reversed(text.splitlines()):
        if line.startswith("{"):
            found: dict[str, Any] = json.loads(line)
            return found
    return {}


def _dataset(home: Home, data: str, output: Output) -> str:
    """The folder of a dataset; the lake is exported first."""
    if data == LAKE:
        return str(training.export_dataset(home, Endpoints.of_running(home), DATASET, output)["path"])
    if not Path(data).is_dir():
        raise NotFound(f"--data is {data}: neither {LAKE} nor a folder", field="data")
    return data


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
