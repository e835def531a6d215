"""`definitions`: compile, compare and activate configuration as code."""

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer

from chassis.bundles import BundleStore, Release
from chassis.errors import NotFound
from corkboard import releases
from corkboard.commands.output import Json, Output, pairs, table
from corkboard.local.home import Home
from corkboard.session import Endpoints
from protos import topics
from sequences.definitions.bundle import NAME, load
from sequences.definitions.definitions import Definitions
from sequences.definitions.diff import diff as compare

app = typer.Typer(no_args_is_help=True, help="Event types, enrichments, sequences, surfaces and spacing as code.")

Folder = Annotated[
    Path | None, typer.Option(help="Folder with events/, enrichments/, …; the repository's when left out.")
]


@app.command(name="compile")
def compile_(folder: Folder = None, json_: Json = False) -> None:
    """Compile twice in a limited subprocess, validate, and write the bundle; nothing is activated.

    Example: corkboard definitions compile
    """
    release = releases.compile_to_bundle(str(_store_uri()), folder)
    data = {"version": release.version, "uri": release.uri}
    Output(json_).result(data, lambda: pairs("compiled", data))


@app.command()
def diff(folder: Folder = None, json_: Json = False) -> None:
    """Compile, and show what would change against what is active.

    Example: corkboard definitions diff
    """
    release = releases.compile_to_bundle(str(_store_uri()), folder)
    active = _active()
    store = BundleStore(str(_store_uri()))
    before = load(store.open(active)) if active else None
    changes = compare(before or Definitions(), load(store.open(release)))
    data = {"active": active.version if active else None, "compiled": release.version, "changes": _plain(changes)}
    Output(json_).result(
        data,
        lambda: table(
            f"{data['active'] or 'nothing'} -> {release.version}",
            ("change",),
            [(change,) for change in _plain(changes)],
        ),
    )


@app.command()
def activate(version: Annotated[str, typer.Argument(help="As compile printed it.")], json_: Json = False) -> None:
    """Announce a compiled version; every process swaps to it within a second.

    Example: corkboard definitions activate VERSION
    """
    known = {release.version: release for release in BundleStore(str(_store_uri())).list(NAME)}
    if version not in known:
        raise NotFound(f"no compiled version {version!r}; there are: {', '.join(known) or 'none'}")
    _run(lambda bus: releases.announce(bus, topics.DEFINITIONS_RELEASED, known[version], "corkboard definitions"))
    Output(json_).result({"active": version}, lambda: f"activated {version}")


def _active() -> Release | None:
    found: dict[str, Release] = _run(lambda bus: releases.read(bus, topics.DEFINITIONS_RELEASED))
    return found.get(NAME)


def _run(work: Any) -> Any:
    async def main() -> Any:
        async with releases.bus(Endpoints.of_running(Home.from_environment()).kafka) as bus:
            return await work(bus)

    return asyncio.run(main())


def _store_uri() -> Path:
    home = Home.from_environment()
    home.create()
    return home.bundles


def _plain(changes: Any) -> list[str]:
    return [f"{change.what} {change.where} {_fields(change.fields)}".strip() for change in changes]


def _fields(fields: dict[str, tuple[Any, Any]]) -> str:
    return "; ".join(f"{name}: {old} -> {new}" for name, (old, new) in fields.items())
