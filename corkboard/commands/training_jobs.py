"""Trainings as processes of their own: where their data is, a bar while they run, their errors as ours."""

import json
import subprocess
import sys
from collections import deque
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from chassis.errors import CorkboardError, Invalid, NotFound, Unavailable
from corkboard import training
from corkboard.commands.output import Output
from corkboard.local.home import Home
from corkboard.session import Endpoints

LAKE = "lake"
DATASET = "training"
CHECKPOINTS = "unfinished-trainings"
ERRORS: dict[str, type[CorkboardError]] = {"INVALID_ARGUMENT": Invalid, "NOT_FOUND": NotFound}
LAST_LINES = 20  # of what a job said, shown when it fails


def run_job(job: str, arguments: list[str], what: str, output: Output) -> dict[str, Any]:
    """What the job reports, in a process of its own; its steps move a bar. Raises: what the job says, Unavailable."""
    argv = [sys.executable, "-m", job, *arguments, "--json", "--steps"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:  # noqa: S603
        if child.stdout is None or child.stderr is None:
            raise Unavailable("the training has no pipes to read from")
        try:
            said = _bar(what, child.stderr, output)
            result = child.stdout.read()
        except BaseException:
            child.kill()  # its checkpoint is what --resume goes on with
            raise
    found = _last_object(result)
    if "error" in found:
        raise ERRORS.get(found["error"]["status"], Unavailable)(found["error"]["message"])
    if child.returncode != 0 or not found:
        raise Unavailable(f"{what} failed with code {child.returncode}\n{''.join(said)}")
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


def dataset_folder(home: Home, data: str, output: Output) -> str:
    """The folder of a dataset; the lake is exported first."""
    if data == LAKE:
        return str(training.export_dataset(home, Endpoints.of_running(home), DATASET, output)["path"])
    if not Path(data).is_dir():
        raise NotFound(f"--data is {data}: neither {LAKE} nor a folder", field="data")
    return data
