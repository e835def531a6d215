"""`python -m services.ranker.offline.train`: from a dataset to a released ranking model."""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from chassis.bundles import BundleStore
from chassis.errors import CorkboardError, Invalid
from modeling.dataset_bundle import open_training_data
from modeling.evaluation import as_table
from modeling.offline_bus import offline_bus
from modeling.release import announce, write_bundle
from modeling.training import silent
from modeling.training_data import TrainingData
from services.ranker.offline.fit_ranker import RankerPlan, fit_ranker
from services.ranker.offline.movielens import movielens
from services.ranker.offline.watch import Watch

NAME = "ranker"
RELEASED_BY = "ranker offline"


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, write the bundle, and with --release announce it. Returns the exit status; errors are JSON on stdout."""
    options = parse(arguments)
    torch.set_num_threads(options.num_threads)
    started_s = time.monotonic()
    try:
        report = _run(options)
    except CorkboardError as error:
        sys.stdout.write(json.dumps({"error": {"status": error.status, "message": error.message}}) + "\n")
        return 1
    report["duration_s"] = round(time.monotonic() - started_s, 2)
    sys.stdout.write((json.dumps(report) if options.json else _lines(report)) + "\n")
    return 0


def _run(options: argparse.Namespace) -> dict[str, Any]:
    """The report. Raises: Invalid, NotFound, Corrupt, Unavailable."""
    data, watch = _data(options), _watch(options)
    is_resumed = watch.is_begun
    plan = RankerPlan(
        max_requests=options.max_requests,
        num_foresight_epochs=options.num_foresight_epochs,
        num_epochs=options.num_epochs,
        seed=options.seed,
    )
    fitted = fit_ranker(data, plan, progress=silent if options.json or options.steps else tell, watch=watch)
    inputs = {"dataset": data.name, "seed": str(options.seed)}
    files = {options.name: fitted.files}
    if options.per_surface:
        files |= {f"{options.name}-{surface}": each for surface, each in fitted.files_by_surface().items()}
    store = BundleStore(options.bundles_uri)
    releases = [write_bundle(store, name, each, inputs, RELEASED_BY) for name, each in files.items()]
    if options.release:
        asyncio.run(announce(offline_bus(options.kafka_bootstrap, "ranker-offline"), releases))
    return {
        "versions": {release.name: release.version for release in releases},
        "is_released": options.release,
        "is_resumed": is_resumed,
        "evaluation": fitted.evaluation,
    }


def _data(options: argparse.Namespace) -> TrainingData:
    if options.dataset:
        return open_training_data(Path(options.dataset))
    return movielens(Path(options.movielens))


def _watch(options: argparse.Namespace) -> Watch:
    """Without --resume an unfinished training is forgotten."""
    if options.resume and not options.checkpoints:
        raise Invalid("--resume needs --checkpoints, the folder of the unfinished training", field="resume")
    kept_at = Path(options.checkpoints) / f"{options.name}-{options.seed}" if options.checkpoints else None
    watch = Watch(_tell_steps if options.steps else None, kept_at)
    if not options.resume:
        watch.forget()
    return watch


def _tell_steps(done: int, total: int) -> None:
    """For a program that draws a bar: one line of JSON on stderr per step."""
    sys.stderr.write(json.dumps({"done": done, "total": total}) + "\n")
    sys.stderr.flush()


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(prog="services.ranker.offline.train", description=__doc__)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--dataset", help="directory of a dataset bundle")
    source.add_argument("--movielens", help="ml-100k.inter of MovieLens-100K")
    parser.add_argument("--bundles-uri", default=".corkboard/bundles", help="where the bundle is written")
    parser.add_argument("--name", default=NAME, help="name of the bundle, another one for a variant on trial")
    parser.add_argument(
        "--per-surface",
        action="store_true",
        help="also write NAME-SURFACE, with that surface's tower alone",
    )
    parser.add_argument("--release", action="store_true", help="announce the bundle")
    parser.add_argument("--kafka-bootstrap", default="127.0.0.1:7092", help="host:port list, for --release")
    parser.add_argument("--seed", type=int, default=RankerPlan.seed)
    parser.add_argument("--max-requests", type=int, default=RankerPlan.max_requests)
    parser.add_argument("--num-foresight-epochs", type=int, default=RankerPlan.num_foresight_epochs)
    parser.add_argument("--num-epochs", type=int, default=RankerPlan.num_epochs)
    parser.add_argument("--checkpoints", default="", help="folder of unfinished trainings")
    parser.add_argument("--resume", action="store_true", help="go on with the unfinished training of this seed")
    parser.add_argument("--steps", action="store_true", help="each step as a JSON line on stderr, for a bar")
    parser.add_argument("--num-threads", type=int, default=1, help="threads of one step; more only on idle cores")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    return parser.parse_args(arguments)


def tell(phase: str, step: int, loss: float) -> None:
    """Progress as a line on stderr."""
    sys.stderr.write(f"{phase}: epoch {step}, loss {loss:.4f}\n")


def _lines(report: Mapping[str, Any]) -> str:
    evaluation = report["evaluation"]
    tables = [as_table(evaluation[part]) for part in ("leave_last_out", "heads") if evaluation[part]]
    versions = [f"{name} {version}" for name, version in report["versions"].items()]
    return "\n".join([*tables, *versions, f"{report['duration_s']:.1f} s"])


if __name__ == "__main__":
    sys.exit(main())
