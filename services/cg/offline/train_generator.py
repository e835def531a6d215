"""`python -m services.cg.offline.train_generator`: one generator from a dataset's training rows, resumable."""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from chassis.bundles import BundleStore
from chassis.errors import CorkboardError, Invalid
from modeling.offline_bus import offline_bus
from modeling.release import announce, write_bundle
from modeling.training import silent
from services.cg.offline.ray_workers import fit_on_ray
from services.cg.offline.row_fits import FITS
from services.cg.offline.rows_task import FittedRows, RowsTask
from services.cg.offline.train import RELEASED_BY, tell
from services.cg.offline.training_runtime import DEVICES, HERE, chosen_device

RUNTIMES = ("local", "ray")


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, evaluate, write the bundle, announce it if asked. Returns the exit status; errors are JSON on stdout."""
    options = parse(arguments)
    try:
        report = run(options)
    except CorkboardError as error:
        sys.stdout.write(json.dumps({"error": {"status": error.status, "message": error.message}}) + "\n")
        return 1
    sys.stdout.write((json.dumps(report) if options.json else _lines(report)) + "\n")
    return 0


def run(options: argparse.Namespace) -> dict[str, Any]:
    """The report. Raises: Invalid, NotFound, Corrupt, Unavailable."""
    torch.set_num_threads(options.num_threads)
    started_s, task = time.monotonic(), task_of(options)
    is_resumed = bool(task.checkpoint) and Path(task.checkpoint).exists()
    fitted = _fit(task, options)
    evaluation = fitted.evaluation()
    fitted.model.to("cpu")
    inputs = {"dataset": Path(task.dataset).name, "seed": str(task.seed)}
    store = BundleStore(options.bundles_uri)
    release = write_bundle(store, task.generator, fitted.files(evaluation), inputs, RELEASED_BY)
    if options.release:
        asyncio.run(announce(offline_bus(options.kafka_bootstrap, "cg-offline"), [release]))
    return {
        "versions": {release.name: release.version},
        "is_released": options.release,
        "is_resumed": is_resumed,
        "evaluation": evaluation,
        "duration_s": round(time.monotonic() - started_s, 2),
    }


def task_of(options: argparse.Namespace) -> RowsTask:
    """What is asked for; without --resume an unfinished training is forgotten."""
    checkpoint = ""
    if options.checkpoints:
        path = Path(options.checkpoints) / f"{options.generator}-{options.seed}.pt"
        if not options.resume:
            path.unlink(missing_ok=True)
        checkpoint = str(path.resolve())
    elif options.resume:
        raise Invalid("--resume needs --checkpoints, the folder of the unfinished training", field="resume")
    return RowsTask(
        options.generator,
        str(Path(options.dataset).resolve()),
        options.seed,
        options.num_epochs,
        options.patience,
        options.held_out_share,
        checkpoint,
    )


def _fit(task: RowsTask, options: argparse.Namespace) -> FittedRows:
    if options.runtime == "ray":
        if options.device == "cuda":
            raise Invalid("--runtime ray trains on CPUs; leave --device at auto or cpu", field="device")
        return fit_on_ray(task, options.num_workers)
    runtime = replace(HERE, device=chosen_device(options.device), stepped=_steps(task) if options.steps else None)
    return FITS[task.generator](task, runtime, silent if options.json or options.steps else tell)


def _steps(task: RowsTask) -> Callable[[int, int], None]:
    """For a program that draws a bar: one line of JSON on stderr per step."""

    def stepped(done: int, total: int) -> None:
        sys.stderr.write(json.dumps({"done": done, "total": total, "what": task.generator}) + "\n")
        sys.stderr.flush()

    return stepped


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(prog="services.cg.offline.train_generator", description=__doc__)
    parser.add_argument("--generator", required=True, choices=sorted(FITS))
    parser.add_argument("--dataset", required=True, help="directory of a dataset bundle with training rows")
    parser.add_argument("--bundles-uri", default=".corkboard/bundles", help="where the bundle is written")
    parser.add_argument("--release", action="store_true", help="announce the bundle")
    parser.add_argument("--kafka-bootstrap", default="127.0.0.1:7092", help="host:port list, for --release")
    parser.add_argument("--seed", type=int, default=17)
    parser.add_argument("--num-epochs", type=int, default=0, help="0 = the generator's usual number")
    parser.add_argument("--patience", type=int, default=2, help="epochs without a better validation; 0 = train on")
    parser.add_argument("--held-out-share", type=float, default=0.2, help="of the time, for validation and test")
    parser.add_argument("--checkpoints", default="", help="folder of unfinished trainings")
    parser.add_argument("--resume", action="store_true", help="go on with the unfinished training of this seed")
    parser.add_argument("--device", choices=DEVICES, default="auto")
    parser.add_argument("--runtime", choices=RUNTIMES, default="local")
    parser.add_argument("--num-workers", type=int, default=2, help="worker processes of --runtime ray")
    parser.add_argument("--num-threads", type=int, default=1, help="threads of one step; more only on idle cores")
    parser.add_argument("--steps", action="store_true", help="progress on stderr as one JSON object per line")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of lines")
    return parser.parse_args(arguments)


def _lines(report: dict[str, Any]) -> str:
    versions = [f"{name} {version}" for name, version in report["versions"].items()]
    tail = f"{report['duration_s']:.1f} s" + (", released" if report["is_released"] else "")
    return "\n".join([json.dumps(report["evaluation"], indent=1), *versions, tail])


if __name__ == "__main__":
    sys.exit(main())
