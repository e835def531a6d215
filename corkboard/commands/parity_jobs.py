"""The offline jobs that a parity run starts: one of the indexer, which owns stores and lake, one of the ranker."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from chassis.errors import Corrupt, Invalid, Unavailable
from corkboard.commands.output import Output
from corkboard.commands.rebuild import job_settings
from corkboard.local.home import Home
from corkboard.local.shadow import Shadow
from corkboard.session import Endpoints
from sequences.parity.gates import Missing
from sequences.parity.model_effect import ModelEffect, SideScores, model_effect
from sequences.parity.run import Findings, Settings

LAST_BYTES = 2_000  # of what a job said, shown when it fails
SCORES = "scores.npz"


def shadow_settings(shadow: Shadow, home: Home, endpoints: Endpoints) -> dict[str, str]:
    """Where the shadow's store and lake are."""
    real = job_settings(home, endpoints, "")
    lake = {"INDEXER_LAKE_DIR": str(shadow.lake_dir(home))}
    return real | lake | {"INDEXER_REDIS_URL": shadow.redis_url(real["INDEXER_REDIS_URL"])}


def compare(
    settings: Settings, shadow: Shadow | None, home: Home, endpoints: Endpoints, folder: Path, output: Output
) -> tuple[Findings, Missing | None]:
    """Tier 1, sequences of tier 2, and the ranker's inputs in `folder`, or why there are none. Raises: Unavailable."""
    arguments = ["services.indexer.offline.parity", "--settings", settings.model_dump_json(), "--out", str(folder)]
    if shadow is not None:
        places = shadow_settings(shadow, home, endpoints)
        arguments += [
            "--shadow-redis-url",
            places["INDEXER_REDIS_URL"],
            "--shadow-lake-dir",
            places["INDEXER_LAKE_DIR"],
        ]
    answer = json.loads(job("comparing", arguments, job_settings(home, endpoints, ""), output))
    missing = answer["model_missing"]
    return Findings.model_validate(answer["findings"]), Missing.model_validate(missing) if missing else None


def scored(settings: Settings, home: Home, folder: Path, output: Output) -> ModelEffect | Missing:
    """What the frozen ranker makes of both sides' histories. Raises: Unavailable, Corrupt."""
    if not settings.ranker_version:
        return Missing(why="no ranker has been released")
    output.say(f"scoring with ranker {settings.ranker_version}")
    arguments = ["services.ranker.offline.parity_scores", "--folder", str(folder), "--bundles-uri", str(home.bundles)]
    arguments += ["--model", settings.ranker_version, "--definitions", settings.old_version]
    job("scoring", [*arguments, "--now-ms", str(settings.until_ms)], {}, output)
    try:
        with np.load(folder / SCORES, allow_pickle=False) as found:
            sides = [SideScores(found[f"probability_{side}"], found[f"utility_{side}"]) for side in ("old", "new")]
    except (OSError, ValueError, KeyError) as error:
        raise Corrupt(f"scores of {folder} cannot be read: {error}") from error
    try:
        return model_effect(*sides)
    except Invalid as error:
        return Missing(why=error.message)


def job(what: str, arguments: Sequence[str], settings: Mapping[str, str], output: Output | None = None) -> bytes:
    """Run one module in a process of its own and return what it printed; its remarks are repeated here.

    Raises: Unavailable with its last words when it fails.
    """
    with subprocess.Popen(  # noqa: S603  # this interpreter, our modules
        [sys.executable, "-m", *arguments],
        env=os.environ | dict(settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None and process.stderr is not None  # noqa: S101  # they are pipes
        said = b""
        for line in process.stderr:
            said = (said + line)[-LAST_BYTES:]
            if output is not None and not line.startswith((b"{", b" ")):
                output.say(line.decode(errors="replace").strip())
        printed = process.stdout.read()
    if process.returncode != 0:
        raise Unavailable(f"{what} failed with code {process.returncode}\n{said.decode(errors='replace')}")
    return printed
