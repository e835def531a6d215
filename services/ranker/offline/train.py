"""`python -m services.ranker.offline.train`: from a dataset to a released ranking model."""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from chassis.bundles import BundleStore, Release
from modeling.dataset_bundle import open_training_data
from modeling.evaluation import as_table
from modeling.offline_bus import offline_bus
from modeling.release import announce, write_bundle
from modeling.training import silent
from services.ranker.offline.fit_ranker import FittedRanker, RankerPlan, fit_ranker

NAME = "ranker"
RELEASED_BY = "ranker offline"


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, write the bundle, and with --release announce it. Returns the exit status."""
    options = parse(arguments)
    torch.set_num_threads(options.num_threads)
    started_s = time.monotonic()
    data = open_training_data(Path(options.dataset))
    plan = RankerPlan(
        max_requests=options.max_requests,
        num_foresight_epochs=options.num_foresight_epochs,
        num_epochs=options.num_epochs,
        seed=options.seed,
    )
    fitted = fit_ranker(data, plan, progress=silent if options.json else tell)
    inputs = {"dataset": data.name, "seed": str(options.seed)}
    files = {options.name: fitted.files}
    if options.per_surface:
        files |= {f"{options.name}-{surface}": each for surface, each in fitted.files_by_surface().items()}
    store = BundleStore(options.bundles_uri)
    releases = [write_bundle(store, name, each, inputs, RELEASED_BY) for name, each in files.items()]
    if options.release:
        asyncio.run(announce(offline_bus(options.kafka_bootstrap, "ranker-offline"), releases))
    sys.stdout.write(_report(options, releases, fitted, time.monotonic() - started_s) + "\n")
    return 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(prog="services.ranker.offline.train", description=__doc__)
    parser.add_argument("--dataset", required=True, help="directory of a dataset bundle")
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
    parser.add_argument("--num-threads", type=int, default=1, help="threads of one step; more only on idle cores")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    return parser.parse_args(arguments)


def tell(phase: str, step: int, loss: float) -> None:
    """Progress as a line on stderr."""
    sys.stderr.write(f"{phase}: epoch {step}, loss {loss:.4f}\n")


def _report(options: Any, releases: Sequence[Release], fitted: FittedRanker, duration_s: float) -> str:
    if options.json:
        return json.dumps(
            {
                "versions": {release.name: release.version for release in releases},
                "is_released": options.release,
                "evaluation": fitted.evaluation,
                "duration_s": round(duration_s, 2),
            }
        )
    tables = [as_table(fitted.evaluation[part]) for part in ("leave_last_out", "heads") if fitted.evaluation[part]]
    versions = [f"{release.name} {release.version}" for release in releases]
    return "\n".join([*tables, *versions, f"{duration_s:.1f} s"])


if __name__ == "__main__":
    sys.exit(main())
