"""Turns definition files into a validated bundle; the files run in a process of their own, twice."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from chassis.bundles.release import Release
from chassis.bundles.store import BundleStore
from chassis.errors import Invalid
from sequences.definitions import bundle
from sequences.definitions.compile_worker import FAULT_STATUS
from sequences.definitions.definitions import Definitions, parse
from sequences.definitions.validate import check

HASH_SEEDS = ("1", "2")  # orders of sets differ between the two runs, so that a definition cannot lean on one


@dataclass(frozen=True)
class CompileLimits:
    """What the process of the definition files may use."""

    cpu_s: int = 10
    memory_bytes: int = 1 << 30
    wall_s: float = 30.0


def compile_definitions(root: Path, limits: CompileLimits = CompileLimits()) -> Definitions:
    """Run, compare and validate the definitions under `root`. Writes nothing.

    Raises: Invalid when a file fails, runs over its limits, is not deterministic, or the definitions are not valid.
    """
    first, second = (_run(root, limits, seed) for seed in HASH_SEEDS)
    if first != second:
        raise Invalid(
            "two runs of the definitions gave different results: they may depend on nothing but their text",
            reason="not_deterministic",
        )
    definitions = parse(first)
    check(definitions)
    return definitions


def write_bundle(definitions: Definitions, store: BundleStore) -> Release:
    """Put compiled definitions into the store; the same content again is the same release."""
    inputs = {"executors": ",".join(sorted({each.executor for each in definitions.enrichments.values()}))}
    return store.write(bundle.NAME, definitions.version, {bundle.FILE: definitions.canonical_json()}, inputs)


def _run(root: Path, limits: CompileLimits, hash_seed: str) -> bytes:
    command = [
        sys.executable,
        "-m",
        "sequences.definitions.compile_worker",
        str(root.resolve()),
        str(limits.cpu_s),
        str(limits.memory_bytes),
    ]
    environment = {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(_CODE), "PATH": "", "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter and module
            command,
            capture_output=True,
            env=environment,
            timeout=limits.wall_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise Invalid(f"definitions ran longer than {limits.wall_s} s", reason="over_limit") from error
    if done.returncode == 0:
        return done.stdout
    last_lines = done.stderr.decode(errors="replace").strip()[-2000:]
    if done.returncode == FAULT_STATUS:
        raise Invalid(last_lines, reason="bad_definition")
    raise Invalid(
        f"definitions were stopped (status {done.returncode}; limits: {limits.cpu_s} s of CPU, "
        f"{limits.memory_bytes >> 20} MiB): {last_lines}",
        reason="over_limit",
    )


_CODE = Path(__file__).parents[2]
