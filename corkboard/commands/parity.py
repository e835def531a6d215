"""`parity`: run new beside old, compare, and cut over one event type after the other."""

import getpass
import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from chassis.bundles import BundleStore
from chassis.clock import SYSTEM_CLOCK
from chassis.errors import Conflict, Invalid
from corkboard.commands.output import Json, Output
from corkboard.commands.parity_html import as_html
from corkboard.commands.parity_records import Change, changes, keep_change, keep_run, run_of, standing_promotion
from corkboard.commands.parity_report import as_tables, history_table, refusal
from corkboard.commands.parity_run import Order, ParityRunner
from corkboard.commands.parity_versions import activate, check_types, definitions_of, in_use
from corkboard.local.home import Home
from corkboard.session import Endpoints
from sequences.definitions.compile import write_bundle
from sequences.parity.candidate import candidate
from sequences.parity.run import ParityRun

app = typer.Typer(no_args_is_help=True, help="Run new beside old, compare, cut over by event type.")

MAX_AGE_MS = 24 * 3_600_000
SECONDS = {"s": 1, "m": 60, "h": 3600}
NOT_MET = 1


class Against(StrEnum):
    """The new side."""

    shadow = "shadow"
    batch = "batch"


Types = Annotated[str, typer.Option("--event-type", help="One event type, or several that move together: save,click.")]
TypesGiven = Annotated[str, typer.Argument(metavar="EVENT_TYPE", help="As it was given to run.")]


@app.command()
def run(
    event_type: Types,
    new: Annotated[str, typer.Option(help="Compiled version that the event types come from.")] = "",
    against: Annotated[
        Against, typer.Option(help="shadow: a second enrich and indexer; batch: the engine over what was accepted.")
    ] = Against.shadow,
    for_: Annotated[
        str, typer.Option("--for", help="How long events flow, or the range of batch: 60s, 10m, 1h.")
    ] = "60s",
    replay: Annotated[str, typer.Option(help="How much of the log before now a shadow reads as well.")] = "0s",
    settle: Annotated[str, typer.Option(help="Delay after which what is not there counts as missing.")] = "15s",
    last: Annotated[int, typer.Option(min=1, help="Events per sequence and user that tier 2 compares.")] = 512,
    users: Annotated[int, typer.Option(min=1, help="Users that tier 2 samples.")] = 200,
    json_: Json = False,
) -> None:
    """Compare two runs over the same events and keep the result; 1 when a gate is closed. Activates nothing.

    Example: corkboard parity run --event-type save --new VERSION --for 10m
    """
    output, home = Output(json_), Home.from_environment()
    endpoints = Endpoints.of_running(home)
    order = Order(
        _types(event_type), against.value, new, _seconds(for_), _seconds(replay), _seconds(settle), last, users
    )
    found = ParityRunner(home, endpoints, in_use(endpoints), output).run(order)
    keep_run(_store(home), found)
    output.result(_as_data(found), lambda: as_tables(found))
    if found.closed_gates:
        raise typer.Exit(NOT_MET)


@app.command()
def report(
    run_id: Annotated[str, typer.Argument(help="A run; the newest when left out.")] = "",
    html: Annotated[Path | None, typer.Option(help="Also write one HTML file with pictures.")] = None,
    json_: Json = False,
) -> None:
    """Show a run again.

    Example: corkboard parity report --html parity.html
    """
    output, found = Output(json_), run_of(_store(Home.from_environment()), run_id)
    if html is not None:
        html.write_text(as_html(found))
        output.say(f"wrote {html}")
    output.result(_as_data(found), lambda: as_tables(found))


@app.command()
def promote(
    event_type: TypesGiven,
    run_id: Annotated[str, typer.Option("--run", help="The run to go by; the newest of the type when left out.")] = "",
    override: Annotated[
        bool, typer.Option("--override", help="Promote although gates are closed; needs --why.")
    ] = False,
    why: Annotated[str, typer.Option(help="Why the closed gates do not matter; recorded.")] = "",
    json_: Json = False,
) -> None:
    """Activate what a run measured, for its event types alone; refused while a gate is closed. `rollback` undoes it.

    Example: corkboard parity promote save
    """
    output, home = Output(json_), Home.from_environment()
    endpoints, store, types = Endpoints.of_running(home), _store(home), _types(event_type)
    found = run_of(store, run_id, types)
    settings, closed = found.settings, found.closed_gates
    active = in_use(endpoints).definitions.version
    if settings.against == "batch":
        raise Invalid(f"{found.run_id} compares stream and batch of one version: there is nothing to promote")
    if active != settings.old_version:
        raise Conflict(f"{found.run_id} was measured against {settings.old_version}, active is {active}: run it again")
    if SYSTEM_CLOCK.now_ms() - settings.until_ms > MAX_AGE_MS:
        raise Conflict(f"{found.run_id} is older than a day: run it again")
    if closed and not override:
        raise Conflict(f"{', '.join(types)} is not promoted: {refusal(closed)}", reason="gates_closed")
    if closed and not why.strip():
        raise Invalid("--override needs --why TEXT, which is recorded", field="why")
    check_types(store, active, settings.new_version)
    time_ms = activate(store, endpoints, settings.new_version, active, is_rollback=False)
    change = Change(
        event_types=types,
        run_id=found.run_id,
        version=settings.new_version,
        replaced=active,
        is_rollback=False,
        time_ms=time_ms,
        changed_by=getpass.getuser(),
        closed_gates=tuple(gate.name for gate in closed),
        why=why.strip() if closed else "",
    )
    keep_change(store, change)
    output.result(change.model_dump(), lambda: f"{', '.join(types)}: {active} -> {settings.new_version}")


@app.command()
def rollback(event_type: TypesGiven, json_: Json = False) -> None:
    """Undo the newest promotion of an event type in one step; types that were promoted since keep their new definition.

    Example: corkboard parity rollback save
    """
    output, home = Output(json_), Home.from_environment()
    endpoints, store, types = Endpoints.of_running(home), _store(home), _types(event_type)
    promotion = standing_promotion(changes(store), types)
    active = in_use(endpoints).definitions.version
    is_newest = active == promotion.version
    version = promotion.replaced
    if not is_newest:
        mixed = candidate(definitions_of(store, active), definitions_of(store, promotion.replaced), types)
        version = write_bundle(mixed.definitions, store).version
    time_ms = activate(store, endpoints, version, active, is_rollback=is_newest)
    update = {"version": version, "replaced": active, "is_rollback": True, "time_ms": time_ms, "closed_gates": ()}
    change = promotion.model_copy(update=update | {"changed_by": getpass.getuser(), "why": ""})
    keep_change(store, change)
    output.result(change.model_dump(), lambda: f"{', '.join(types)}: rolled back {active} -> {version}")


@app.command()
def history(json_: Json = False) -> None:
    """List promotions and rollbacks, oldest first, with the reasons of overrides.

    Example: corkboard parity history
    """
    output, known = Output(json_), changes(_store(Home.from_environment()))
    output.result([change.model_dump() for change in known], lambda: history_table(known))


def _as_data(found: ParityRun) -> dict[str, object]:
    return found.model_dump(mode="json") | {"closed_gates": [gate.name for gate in found.closed_gates]}


def _types(text: str) -> tuple[str, ...]:
    types = tuple(sorted({part.strip() for part in text.split(",") if part.strip()}))
    if not types:
        raise Invalid(f"{text!r} names no event type", field="event_type")
    return types


def _seconds(text: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text.strip())
    if not found:
        raise Invalid(f"{text!r} is no duration; give 60s, 10m or 1h", field="duration")
    return float(found[1]) * SECONDS[found[2]]


def _store(home: Home) -> BundleStore:
    home.create()
    return BundleStore(str(home.bundles))
