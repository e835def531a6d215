"""`python -m services.cg.offline.train`: from a dataset to released generators."""

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
from chassis.kafka.bus import Bus
from modeling.dataset_bundle import open_training_data
from modeling.evaluation import as_table
from modeling.offline_bus import offline_bus
from modeling.release import write_bundle
from modeling.training import silent
from services.cg.offline.fit_generators import Fitted, Job, fit_all
from services.cg.offline.fit_shopping import fit_shopping_files
from services.cg.offline.release import release

RELEASED_BY = "cg offline"


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, write the bundles, and with --release announce them. Returns the exit status."""
    options = parse(arguments)
    torch.set_num_threads(options.num_threads)
    started_s = time.monotonic()
    data = open_training_data(Path(options.dataset))
    checkpoints = Path(options.checkpoints) if options.checkpoints else None
    fitted = fit_all(
        data, Job(options.seed, not options.skip_evaluation, checkpoints, silent if options.json else tell)
    )
    shopping = fit_shopping_files(
        Path(options.dataset),
        options.seed,
        checkpoints,
        silent if options.json else tell,
        is_evaluated=not options.skip_evaluation,
    )
    store = BundleStore(options.bundles_uri)
    inputs = {"dataset": data.name, "seed": str(options.seed)}
    files_by_name = {**fitted.files_by_name, **({"shopping": shopping.files} if shopping else {})}
    releases = [write_bundle(store, name, files, inputs, RELEASED_BY) for name, files in files_by_name.items()]
    if options.release:
        asyncio.run(release(_bus(options), releases, fitted, shopping))
    sys.stdout.write(_report(options, releases, fitted, time.monotonic() - started_s) + "\n")
    return 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(prog="services.cg.offline.train", description=__doc__)
    parser.add_argument("--dataset", required=True, help="directory of a dataset bundle")
    parser.add_argument("--bundles-uri", default=".corkboard/bundles", help="where bundles are written")
    parser.add_argument("--release", action="store_true", help="announce the bundles and publish user vectors")
    parser.add_argument("--kafka-bootstrap", default="127.0.0.1:7092", help="host:port list, for --release")
    parser.add_argument("--seed", type=int, default=17)
    parser.add_argument("--num-threads", type=int, default=1, help="threads of one step; more only on idle cores")
    parser.add_argument("--checkpoints", default="", help="folder in which a killed training is gone on with")
    parser.add_argument("--skip-evaluation", action="store_true", help="do not hold out the last event of each user")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    return parser.parse_args(arguments)


def tell(phase: str, step: int, loss: float) -> None:
    """Progress as a line on stderr."""
    sys.stderr.write(f"{phase}: epoch {step}, loss {loss:.4f}\n")


def _bus(options: Any) -> Bus:
    return offline_bus(options.kafka_bootstrap, "cg-offline")


def _report(options: Any, releases: Sequence[Release], fitted: Fitted, duration_s: float) -> str:
    versions = {item.name: item.version for item in releases}
    if options.json:
        return json.dumps(
            {
                "versions": versions,
                "is_released": options.release,
                "evaluation": dict(fitted.evaluation),
                "num_users": len(fitted.user_ids),
                "duration_s": round(duration_s, 2),
            }
        )
    lines = [as_table(fitted.evaluation)] if fitted.evaluation else []
    lines += [f"{name} {version}" for name, version in versions.items()]
    return "\n".join([*lines, f"{duration_s:.1f} s" + (", released" if options.release else "")])


if __name__ == "__main__":
    sys.exit(main())
