"""What parity keeps in the bundle store: every run with its report, and every promotion and rollback."""

import json
from typing import TypeVar

from chassis.bundles import BundleStore
from chassis.errors import Corrupt, NotFound
from corkboard.commands.parity_html import as_html
from sequences.definitions.definition import Frozen
from sequences.parity.run import ParityRun

Kept = TypeVar("Kept", bound=Frozen)
RUNS = "parity-runs"
CHANGES = "parity-changes"
RUN_FILE, HTML_FILE, CHANGE_FILE = "run.json", "report.html", "change.json"


class Change(Frozen):
    """A cut-over of event types from one version to another, or its rollback.

    `closed_gates` were overridden, for the reason `why`.
    """

    event_types: tuple[str, ...]
    run_id: str
    version: str
    replaced: str
    is_rollback: bool
    time_ms: int
    changed_by: str
    closed_gates: tuple[str, ...] = ()
    why: str = ""


def keep_run(store: BundleStore, run: ParityRun) -> None:
    """Remember a run. Raises: Conflict when another one has its id."""
    files = {RUN_FILE: run.model_dump_json(indent=1).encode(), HTML_FILE: as_html(run).encode()}
    store.write(RUNS, run.run_id, files)


def runs(store: BundleStore) -> list[ParityRun]:
    """Every run, oldest first. Raises: Corrupt."""
    releases = sorted(store.list(RUNS), key=lambda release: release.version)
    return [_read(ParityRun, (store.open(each) / RUN_FILE).read_bytes(), each.version) for each in releases]


def run_of(store: BundleStore, run_id: str = "", event_types: tuple[str, ...] = ()) -> ParityRun:
    """The named run, or the newest one of these event types, or the newest at all. Raises: NotFound, Corrupt."""
    known = runs(store)
    fitting = [
        run
        for run in known
        if (not run_id or run.run_id == run_id) and (not event_types or run.settings.event_types == event_types)
    ]
    if not fitting:
        wanted = " ".join(filter(None, ("run", run_id, f"of {', '.join(event_types)}" if event_types else "")))
        raise NotFound(f"there is no parity {wanted}; corkboard parity run makes one")
    return fitting[-1]


def keep_change(store: BundleStore, change: Change) -> None:
    """Remember a promotion or a rollback. Raises: Conflict when another one has the same time."""
    store.write(CHANGES, f"{change.time_ms:015d}", {CHANGE_FILE: change.model_dump_json(indent=1).encode()})


def changes(store: BundleStore) -> list[Change]:
    """Every one, oldest first. Raises: Corrupt."""
    releases = sorted(store.list(CHANGES), key=lambda release: release.version)
    return [_read(Change, (store.open(each) / CHANGE_FILE).read_bytes(), each.version) for each in releases]


def standing_promotion(known: list[Change], event_types: tuple[str, ...]) -> Change:
    """The newest promotion of these types that was not rolled back. Raises: NotFound."""
    standing: list[Change] = []
    for change in known:
        if change.event_types != event_types:
            continue
        if not change.is_rollback:
            standing.append(change)
        elif standing:
            standing.pop()
    if not standing:
        raise NotFound(f"no promotion of {', '.join(event_types)} stands: there is nothing to roll back")
    return standing[-1]


def _read(kind: type[Kept], content: bytes, where: str) -> Kept:
    try:
        return kind.model_validate(json.loads(content))
    except ValueError as error:
        raise Corrupt(f"{where} cannot be read: {error}") from error
