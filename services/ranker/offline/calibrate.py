"""`python -m services.ranker.offline.calibrate`: new probabilities for a released ranker, the same order of weights."""

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from chassis.bundles import BundleStore, Release
from chassis.errors import CorkboardError, NotFound
from modeling import calibration
from modeling.dataset_bundle import open_training_data
from modeling.evaluation import as_table
from modeling.offline_bus import offline_bus
from modeling.release import announce, write_bundle
from services.ranker.offline.calibrating import Calibrated
from services.ranker.offline.fit_ranker import RankerPlan, calibrate_model
from services.ranker.offline.material import prepare
from services.ranker.outbound.bundle_model_files import FILE_NAMES, read_ranker

NAME = "ranker"
RELEASED_BY = "ranker calibration"


def main(arguments: Sequence[str] | None = None) -> int:
    """Calibrate, write a version that differs in nothing else, and with --release announce it."""
    options = _parse(arguments)
    torch.set_num_threads(1)
    try:
        report = _run(options)
    except CorkboardError as error:
        sys.stderr.write(f"error: {error.message}\n")
        return 1
    errors = report["calibration"]
    lines = [as_table(errors), f"{NAME} {report['versions'][NAME]}"] if errors else ["nothing to calibrate on"]
    sys.stdout.write((json.dumps(report) if options.json else "\n".join(lines)) + "\n")
    return 0


def _run(options: argparse.Namespace) -> dict[str, Any]:
    store = BundleStore(options.bundles_uri)
    released = _released(store, options.model)
    folder, data = store.open(released), open_training_data(Path(options.dataset))
    material = prepare(data, RankerPlan(max_requests=options.max_requests, seed=options.seed))
    found = calibrate_model(read_ranker(folder, released.version).model, material)
    files = {name: (folder / name).read_bytes() for name in FILE_NAMES}
    files[calibration.FILE_NAME] = calibration.to_json(found.platt, found.measured)
    if options.picture:
        _draw(found, Path(options.picture))
    inputs = {"dataset": data.name, "model": released.version}
    release = write_bundle(store, NAME, files, inputs, RELEASED_BY)
    if options.release:
        asyncio.run(announce(offline_bus(options.kafka_bootstrap, "ranker-calibration"), [release]))
    return {
        "versions": {NAME: release.version},
        "calibrated": released.version,
        "dataset": data.name,
        "is_released": options.release,
        "of_served": material.held_out_served is not None,
        "calibration": found.errors,
    }


def _released(store: BundleStore, version: str) -> Release:
    found = [release for release in store.list(NAME) if version in ("", release.version)]
    if not found:
        raise NotFound(f"there is no {NAME} bundle {version!r}; train one first", field="model")
    return found[-1]


def _draw(found: Calibrated, path: Path) -> None:
    # Here, as only a picture needs matplotlib and a training image does without it.
    from services.ranker.offline.reliability_picture import reliability_picture

    path.write_bytes(reliability_picture(found.measured))


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="services.ranker.offline.calibrate", description=__doc__)
    parser.add_argument("--dataset", required=True, help="directory of a dataset bundle")
    parser.add_argument("--bundles-uri", default=".corkboard/bundles", help="where bundles are")
    parser.add_argument("--model", default="", help="version of the ranker; default the newest")
    parser.add_argument("--picture", default="", help="also draw reliability as a PNG of this name")
    parser.add_argument("--release", action="store_true", help="announce the new version")
    parser.add_argument("--kafka-bootstrap", default="127.0.0.1:7092", help="host:port list, for --release")
    parser.add_argument("--seed", type=int, default=RankerPlan.seed)
    parser.add_argument(
        "--max-requests", type=int, default=RankerPlan.max_requests, help="sampled requests, where nothing was served"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
