"""One run of the definition files in a process with limits, and what it says when a limit ends it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from chassis.errors import Invalid
from sequences.definitions.compile_worker import FAULT_STATUS

MAX_SAID_CHARS = 2_000
_CODE = Path(__file__).parents[2]

Defined = tuple[str, Sequence[str]]
"""A file, and the names that it defines."""


@dataclass(frozen=True)
class CompileLimits:
    """What the process of the definition files may use."""

    cpu_s: int = 10
    memory_bytes: int = 1 << 30
    wall_s: float = 30.0


@dataclass(frozen=True)
class Run:
    """Canonical JSON, and which file defined which names."""

    content: bytes
    defined: Sequence[Defined]


def file_of(where: str, defined: Sequence[Defined]) -> str:
    """The file that made "<room>/<name>"; the room when it cannot be told."""
    room, name = where.split("/")
    return next((file for file, names in defined if file.startswith(f"{room}/") and name in names), room)


def run_files(root: Path, limits: CompileLimits, hash_seed: str, timezone: str) -> Run:
    """Run every file under `root`. Raises: Invalid naming the file that failed or was running at a limit."""
    with TemporaryFile() as progress:
        descriptor = progress.fileno()
        try:
            done = subprocess.run(  # noqa: S603 - our own interpreter and module
                _command(root, limits, descriptor),
                capture_output=True,
                env=_environment(hash_seed, timezone),
                timeout=limits.wall_s,
                pass_fds=(descriptor,),
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            last = _last_file(_lines(descriptor))
            raise Invalid(f"{last}: ran longer than {limits.wall_s:g} s", field=last, reason="over_limit") from error
        lines = _lines(descriptor)
    if done.returncode == 0 and done.stdout:
        return Run(done.stdout, [(line["file"], line["defined"]) for line in lines if line["defined"] is not None])
    raise _fault(done, _last_file(lines), limits)


def _command(root: Path, limits: CompileLimits, progress_fd: int) -> list[str]:
    numbers = (limits.cpu_s, limits.memory_bytes, progress_fd)
    return [sys.executable, "-m", "sequences.definitions.compile_worker", str(root.resolve()), *map(str, numbers)]


def _environment(hash_seed: str, timezone: str) -> dict[str, str]:
    return {
        "PYTHONHASHSEED": hash_seed,
        "PYTHONPATH": str(_CODE),
        "PATH": "",
        "PYTHONDONTWRITEBYTECODE": "1",
        "TZ": timezone,
    }


def _lines(descriptor: int) -> list[dict[str, Any]]:
    content = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
    return [json.loads(line) for line in content.splitlines()]


def _last_file(lines: Sequence[dict[str, Any]]) -> str:
    return str(lines[-1]["file"]) if lines else "definitions"


def _fault(done: "subprocess.CompletedProcess[bytes]", file: str, limits: CompileLimits) -> Invalid:
    said = done.stderr.decode(errors="replace").strip()[-MAX_SAID_CHARS:]
    if done.returncode == FAULT_STATUS:
        return Invalid(said, field=file, reason="bad_definition")
    if -done.returncode in (signal.SIGXCPU, signal.SIGKILL):
        return Invalid(f"{file}: used more than {limits.cpu_s} s of CPU", field=file, reason="over_limit")
    what = "ended the process" if done.returncode == 0 else f"stopped the process with status {done.returncode}"
    return Invalid(f"{file}: {what} (memory limit: {limits.memory_bytes >> 20} MiB): {said}", field=file)
