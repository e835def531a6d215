"""Runs the offline jobs in order, each in a process of its own, and waits until the new models serve."""

import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from chassis.errors import DeadlineExceeded, Unavailable
from corkboard.commands.output import Output
from corkboard.local.home import Home
from corkboard.session import Endpoints

SERVING_WITHIN_S = 60.0
MODELS_OF = {
    "cg": ("popular", "co_engaged", "related", "two_tower", "contextual", "shopping"),
    "ranker-leaf": ("ranker",),
}


def export_dataset(home: Home, endpoints: Endpoints, name: str, output: Output) -> dict[str, Any]:
    """Write a dataset bundle from the lake; returns its report with the key `path`."""
    settings = {
        "INDEXER_KAFKA_BOOTSTRAP": endpoints.kafka,
        "INDEXER_BUNDLES_URI": str(home.bundles),
        "INDEXER_LAKE_DIR": str(home.lake),
        "INDEXER_REDIS_URL": f"redis://127.0.0.1:{endpoints.ports.valkey(endpoints.zone_index)}/0",
    }
    arguments = ["services.indexer.offline.export_dataset", "--name", name]
    return _job(output, "exporting training data", arguments, settings)


def train(home: Home, endpoints: Endpoints, service: str, dataset: str, output: Output) -> dict[str, Any]:
    """Train and release the models of `service` (cg or ranker)."""
    arguments = [
        f"services.{service}.offline.train",
        "--dataset",
        dataset,
        "--bundles-uri",
        str(home.bundles),
        "--release",
        "--kafka-bootstrap",
        endpoints.kafka,
    ]
    return _job(output, f"training {service}", arguments, {})


def calibrate_ranker(
    home: Home, endpoints: Endpoints | None, dataset: Path, picture: Path | None, output: Output
) -> dict[str, Any]:
    """Write a calibrated version of the newest ranker; with `endpoints` it is released."""
    arguments = ["services.ranker.offline.calibrate", "--dataset", str(dataset), "--bundles-uri", str(home.bundles)]
    if picture is not None:
        arguments += ["--picture", str(picture.resolve())]
    if endpoints is not None:
        arguments += ["--release", "--kafka-bootstrap", endpoints.kafka]
    return _job(output, "calibrating ranker", arguments, {})


def wait_until_serving(endpoints: Endpoints, process: str, version_of: dict[str, str]) -> None:
    """Return when `process` serves these bundle versions. Raises: DeadlineExceeded."""
    give_up_s = time.monotonic() + SERVING_WITHIN_S
    served: dict[str, str] = {}
    while time.monotonic() < give_up_s:
        served = _bundles(endpoints.ports.admin(process, endpoints.zone_index))
        if all(served.get(name) == version for name, version in version_of.items()):
            return
        time.sleep(0.1)
    raise DeadlineExceeded(f"{process} serves {served} and not {version_of} after {SERVING_WITHIN_S:.0f} s")


def _bundles(admin_port: int) -> dict[str, str]:
    connection = http.client.HTTPConnection("127.0.0.1", admin_port, timeout=2.0)
    try:
        connection.request("GET", "/bundles")
        found: dict[str, str] = json.loads(connection.getresponse().read())
        return found
    except (OSError, http.client.HTTPException, ValueError):
        return {}
    finally:
        connection.close()


def _job(output: Output, what: str, arguments: Sequence[str], settings: dict[str, str]) -> dict[str, Any]:
    """Run one offline job; its progress goes to our stderr, its `--json` result is returned."""
    output.say(what)
    start_s = time.monotonic()
    done = subprocess.run(  # noqa: S603  # this interpreter, our modules
        [sys.executable, "-m", *arguments, "--json"],
        env=os.environ | settings,
        stdout=subprocess.PIPE,
        stderr=None if output.remarks.is_terminal else subprocess.PIPE,
        check=False,
    )
    if done.returncode != 0:
        tail = (done.stderr or b"").decode(errors="replace")[-2_000:]
        raise Unavailable(f"{what} failed with code {done.returncode}\n{tail}")
    report: dict[str, Any] = json.loads(done.stdout)
    output.say(f"{what}: {time.monotonic() - start_s:.1f} s")
    return report
