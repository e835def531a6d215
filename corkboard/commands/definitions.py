"""`definitions`: compile, lint, compare, activate and roll back configuration as code."""

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer

from chassis.bundles import BundleStore, Release
from chassis.clock import SYSTEM_CLOCK
from chassis.errors import Invalid, NotFound, Unavailable
from corkboard import releases
from corkboard.commands import definitions_report
from corkboard.commands.output import Json, Output, pairs, table
from corkboard.local.home import Home
from corkboard.session import Endpoints
from protos import topics
from sequences.definitions import activations
from sequences.definitions.bundle import NAME, load
from sequences.definitions.compile import compile_definitions
from sequences.definitions.cpu_cost import cpu_costs
from sequences.definitions.definitions import Definitions
from sequences.definitions.diff import diff as compare
from sequences.definitions.diff import unversioned_changes
from sequences.definitions.lint import lint
from sequences.definitions.storage_cost import storage_costs

app = typer.Typer(no_args_is_help=True, help="Event types, enrichments, sequences, surfaces and spacing as code.")

ANNOUNCED_BY = "corkboard definitions"

Folder = Annotated[
    Path | None, typer.Option(help="Folder with events/, enrichments/, …; the repository's when left out.")
]


@app.command(name="compile")
def compile_(folder: Folder = None, json_: Json = False) -> None:
    """Compile twice in a limited subprocess, validate, and write the bundle; nothing is activated.

    Prints what would change against what is active, when Corkboard runs.

    Example: corkboard definitions compile
    """
    release = releases.compile_to_bundle(str(_store_uri()), folder)
    active = _active_or_none()
    changes = _changes(active, release) if active else None
    data = {
        "version": release.version,
        "uri": release.uri,
        "active": active.version if active else None,
        "changes": changes,
    }
    shown = {"version": release.version, "uri": release.uri, "active": data["active"] or "unknown or nothing"}
    if changes is not None:
        shown["changes"] = "\n".join(changes) or "none"
    Output(json_).result(data, lambda: pairs("compiled", shown))


@app.command()
def diff(folder: Folder = None, json_: Json = False) -> None:
    """Compile, and show what would change against what is active.

    Example: corkboard definitions diff
    """
    release = releases.compile_to_bundle(str(_store_uri()), folder)
    active = _active()
    changes = _changes(active, release)
    data = {"active": active.version if active else None, "compiled": release.version, "changes": changes}
    Output(json_).result(
        data,
        lambda: table(
            f"{data['active'] or 'nothing'} -> {release.version}",
            ("change",),
            [(change,) for change in changes],
        ),
    )


@app.command()
def activate(version: Annotated[str, typer.Argument(help="As compile printed it.")], json_: Json = False) -> None:
    """Announce a compiled version; every process swaps to it within two seconds.

    Refused when a type changed and no version was raised. `rollback` undoes it.

    Example: corkboard definitions activate VERSION
    """
    known = _known(version)
    active = _active()
    _check_versions(active, known)
    _announce(known, active, is_rollback=False)
    Output(json_).result({"active": version}, lambda: f"activated {version}")


@app.command()
def rollback(json_: Json = False) -> None:
    """Go back to the version that was active before; again goes back one more.

    Example: corkboard definitions rollback
    """
    active = _active()
    version = activations.previous(activations.recorded(_store()), active.version if active else "")
    _announce(_known(version), active, is_rollback=True)
    replaced = active.version if active else None
    Output(json_).result({"active": version, "replaced": replaced}, lambda: f"rolled back {replaced} -> {version}")


@app.command(name="lint")
def lint_(folder: Folder = None, json_: Json = False) -> None:
    """Compile, and say what nobody reads, what has no bound and what each sequence costs; 1 when a finding is an error.

    Bytes are estimated from stated assumptions about compression, CPU is measured on this machine. Writes nothing.

    Example: corkboard definitions lint
    """
    compiled = compile_definitions(folder or releases.repository_folder())
    findings, costs, cpu = lint(compiled), storage_costs(compiled), cpu_costs(compiled)
    Output(json_).result(
        definitions_report.as_data(compiled, findings, costs, cpu),
        lambda: definitions_report.as_tables(compiled, findings, costs, cpu),
    )
    if any(finding.severity == "error" for finding in findings):
        raise typer.Exit(1)


def _known(version: str) -> Release:
    known = {release.version: release for release in _store().list(NAME)}
    if version not in known:
        raise NotFound(f"no compiled version {version!r}; there are: {', '.join(known) or 'none'}")
    return known[version]


def _announce(release: Release, active: Release | None, *, is_rollback: bool) -> None:
    """Remember first: an announcement without a record could not be undone, a record without one does no harm."""
    replaced = active.version if active else ""
    now_ms = SYSTEM_CLOCK.now_ms()
    activation = activations.Activation(release.version, replaced, is_rollback, now_ms, ANNOUNCED_BY)
    activations.record(_store(), activation)
    _run(lambda bus: releases.announce(bus, topics.DEFINITIONS_RELEASED, release, ANNOUNCED_BY))


def _check_versions(active: Release | None, wanted: Release) -> None:
    if active is None or wanted.version in {each.version for each in activations.recorded(_store())}:
        return
    store = _store()
    problems = unversioned_changes(load(store.open(active)), load(store.open(wanted)))
    if problems:
        raise Invalid("; ".join(map(str, problems)), field=problems[0].where, reason=problems[0].code)


def _changes(active: Release | None, release: Release) -> list[str]:
    store = _store()
    before = load(store.open(active)) if active else Definitions()
    return _plain(compare(before, load(store.open(release))))


def _active() -> Release | None:
    found: dict[str, Release] = _run(lambda bus: releases.read(bus, topics.DEFINITIONS_RELEASED))
    return found.get(NAME)


def _active_or_none() -> Release | None:
    try:
        return _active()
    except Unavailable:  # compiling needs no running Corkboard
        return None


def _run(work: Any) -> Any:
    async def main() -> Any:
        async with releases.bus(Endpoints.of_running(Home.from_environment()).kafka) as bus:
            return await work(bus)

    return asyncio.run(main())


def _store() -> BundleStore:
    return BundleStore(str(_store_uri()))


def _store_uri() -> Path:
    home = Home.from_environment()
    home.bundles.mkdir(parents=True, exist_ok=True)  # all that is needed of it
    return home.bundles


def _plain(changes: Any) -> list[str]:
    return [f"{change.what} {change.where} {_fields(change.fields)}".strip() for change in changes]


def _fields(fields: dict[str, tuple[Any, Any]]) -> str:
    return "; ".join(f"{name}: {old} -> {new}" for name, (old, new) in fields.items())
