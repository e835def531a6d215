"""`models`: which versions of each model bundle there are, which is live, and how to change that."""

import asyncio
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from chassis.bundles import BundleStore, Release
from chassis.errors import NotFound, Unavailable
from corkboard import releases
from corkboard.commands.output import Json, Output, table
from corkboard.local.home import Home
from corkboard.session import Endpoints
from modeling import release_log
from protos.topics import MODELS_RELEASED

app = typer.Typer(no_args_is_help=True, help="Released models: list them, release one, roll one back.")

ANNOUNCED_BY = "corkboard models"
EVALUATION = "evaluation.json"
PROTOCOL = "leave_last_out"  # the part of a retrieval bundle's evaluation that has one row per model
FIGURES = ("recall@10", "recall@100", "ndcg@10", "auc", "log_loss")

Name = Annotated[str, typer.Argument(help="Bundle name, as list prints it, such as contextual.")]


@app.command(name="list")
def list_(name: Annotated[str, typer.Argument(help="Only this bundle.")] = "", json_: Json = False) -> None:
    """Show every version of every model bundle: when it was made, its evaluation, and whether it is live.

    Which one is live is known only while Corkboard runs.

    Example: corkboard models list contextual
    """
    store, live = _store(), _live_or_none()
    names = [name] if name else _names(store)
    rows = [_row(store, release, live) for each in names for release in store.list(each)]
    if not rows:
        raise NotFound(f"no bundle of {name or 'any model'} in {_uri()}; train one with: corkboard train all")
    Output(json_).result(rows, lambda: _table(rows, is_known=live is not None))


@app.command()
def release(
    name: Name, version: Annotated[str, typer.Argument(help="As list prints it.")], json_: Json = False
) -> None:
    """Announce a version; every process that uses the model verifies it and swaps within two seconds.

    Example: corkboard models release contextual VERSION
    """
    wanted = _known(name, version)
    live = _live().get(name)
    _announce(wanted, is_rollback=False)
    data = {"name": name, "live": version, "replaced": live.version if live else None}
    Output(json_).result(data, lambda: f"released {name} {version} (was {data['replaced'] or 'nothing'})")


@app.command()
def rollback(name: Name, json_: Json = False) -> None:
    """Announce the version that was live before; again goes back one more.

    Stored user states of the version that leaves are refused until they are made anew; `release` undoes a rollback.

    Example: corkboard models rollback contextual
    """
    live = _live().get(name)
    if live is None:
        raise NotFound(f"no version of {name!r} is live; live are: {', '.join(sorted(_live())) or 'none'}")
    version = release_log.previous(release_log.recorded(_store(), name), live.version)
    _announce(_known(name, version), is_rollback=True)
    data = {"name": name, "live": version, "replaced": live.version}
    Output(json_).result(data, lambda: f"rolled back {name}: {live.version} -> {version}")


def _announce(wanted: Release, *, is_rollback: bool) -> None:
    """Verify, remember, announce: an announcement without a record could not be undone."""
    _store().open(wanted)
    endpoints = Endpoints.of_running(Home.from_environment())
    release_log.record(wanted, ANNOUNCED_BY, is_rollback=is_rollback)

    async def send() -> None:
        async with releases.bus(endpoints.kafka) as bus:
            await releases.announce(bus, MODELS_RELEASED, wanted, ANNOUNCED_BY)

    asyncio.run(send())


def _known(name: str, version: str) -> Release:
    known = {each.version: each for each in _store().list(name)}
    if not known:
        raise NotFound(f"there is no model bundle {name!r}; there are: {', '.join(_names(_store())) or 'none'}")
    if version not in known:
        raise NotFound(f"{name} has no version {version!r}; there are: {', '.join(known)}")
    return known[version]


def _names(store: BundleStore) -> list[str]:
    """Bundles that carry an evaluation, or were announced as a model."""
    found, names = [], store.names()
    for name in names:
        if name.startswith(release_log.PREFIX):
            continue
        versions = store.list(name)
        is_announced = f"{release_log.PREFIX}{name}" in names
        if versions and (is_announced or (store.open(versions[-1]) / EVALUATION).is_file()):
            found.append(name)
    return found


def _row(store: BundleStore, release: Release, live: Mapping[str, Release] | None) -> dict[str, Any]:
    live_version = None if live is None else live[release.name].version if release.name in live else ""
    return {
        "name": release.name,
        "version": release.version,
        "created": datetime.fromtimestamp(release.released_time_ms / 1_000, UTC).isoformat(timespec="seconds"),
        "is_live": None if live_version is None else release.version == live_version,
        "evaluation": _evaluation(store, release),
    }


def _evaluation(store: BundleStore, release: Release) -> dict[str, float]:
    """The figures of the bundle's own model, those of FIGURES that it has."""
    path = store.open(release) / EVALUATION
    if not path.is_file():
        return {}
    report = json.loads(path.read_bytes())
    figures = report.get(PROTOCOL, {}).get(release.name) or report
    return {name: round(figures[name], 4) for name in FIGURES if isinstance(figures.get(name), int | float)}


def _table(rows: list[dict[str, Any]], *, is_known: bool) -> Any:
    shown = [
        (
            row["name"],
            row["version"],
            row["created"],
            "live" if row["is_live"] else "",
            "  ".join(f"{name} {value:.4f}" for name, value in row["evaluation"].items()),
        )
        for row in rows
    ]
    title = "model bundles" if is_known else "model bundles (Corkboard is not running: what is live is not known)"
    return table(title, ("bundle", "version", "created (UTC)", "", "evaluation"), shown)


def _live() -> Mapping[str, Release]:
    endpoints = Endpoints.of_running(Home.from_environment())

    async def read() -> Mapping[str, Release]:
        async with releases.bus(endpoints.kafka) as bus:
            return await releases.read(bus, MODELS_RELEASED)

    return asyncio.run(read())


def _live_or_none() -> Mapping[str, Release] | None:
    try:
        return _live()
    except Unavailable:  # listing needs no running Corkboard
        return None


def _store() -> BundleStore:
    return BundleStore(_uri())


def _uri() -> str:
    home = Home.from_environment()
    home.bundles.mkdir(parents=True, exist_ok=True)  # all that is needed of it
    return str(home.bundles)
