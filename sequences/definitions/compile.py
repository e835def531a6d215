"""Turns definition files into a validated bundle; the files run in a process of their own, twice."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from chassis.bundles.release import Release
from chassis.bundles.store import BundleStore
from chassis.errors import Invalid
from sequences.definitions import bundle
from sequences.definitions.compile_run import CompileLimits, Defined, file_of, run_files
from sequences.definitions.definitions import Definitions, parse
from sequences.definitions.diff import diff
from sequences.definitions.validate import check


@dataclass(frozen=True)
class Surroundings:
    """What must not change a result: the order of sets, and the local date (UTC+14 and UTC-12 never share one)."""

    hash_seed: str
    timezone: str


LIMITS = CompileLimits()
SURROUNDINGS = (Surroundings("1", "EAST-14"), Surroundings("2", "WEST+12"))


def compile_definitions(root: Path, limits: CompileLimits = LIMITS) -> Definitions:
    """Run, compare and validate the definitions under `root`. Writes nothing.

    Raises: Invalid naming the file when one fails, runs over its limits or is not deterministic, and every problem
    when the definitions are not valid.
    """
    first, second = (run_files(root, limits, each.hash_seed, each.timezone) for each in SURROUNDINGS)
    definitions = parse(first.content)
    if first.content != second.content:
        raise _not_deterministic(definitions, parse(second.content), (*first.defined, *second.defined))
    check(definitions)
    return definitions


def write_bundle(definitions: Definitions, store: BundleStore) -> Release:
    """Put compiled definitions into the store; the same content again is the same release."""
    inputs = {"executors": ",".join(sorted({each.executor for each in definitions.enrichments.values()}))}
    return store.write(bundle.NAME, definitions.version, {bundle.FILE: definitions.canonical_json()}, inputs)


def _not_deterministic(one: Definitions, other: Definitions, defined: Sequence[Defined]) -> Invalid:
    changes = diff(one, other)
    files = sorted({file_of(change.where, defined) for change in changes})
    what = "; ".join(f"{change.where} ({', '.join(change.fields) or change.what})" for change in changes)
    return Invalid(
        f"{', '.join(files)}: two runs gave different results for {what}: a definition may depend on nothing but "
        f"its text, so not on time, chance, the machine or the order of a set",
        field=files[0] if files else "",
        reason="not_deterministic",
    )
