"""The command line: `corkboard --help` lists everything."""

import sys
from collections.abc import Callable

import typer
from rich.markup import escape

from chassis.errors import CorkboardError
from corkboard.commands import (
    backfill,
    calibrate,
    chaos,
    data,
    definitions,
    diagnose,
    doctor,
    evaluate_reliability,
    feeds,
    lake,
    load,
    models,
    parity,
    quota,
    rebuild,
    replay,
    running,
    showcase,
    traces,
    train_ranker,
    zone,
)
from corkboard.commands.output import Output

EXIT_CODES = {"INVALID_ARGUMENT": 2, "NOT_FOUND": 3, "UNAVAILABLE": 4, "RESOURCE_EXHAUSTED": 5, "DEADLINE_EXCEEDED": 6}


COMMANDS: tuple[Callable[..., None], ...] = (
    showcase.demo,
    running.up,
    running.down,
    running.status,
    running.logs,
    running.stop,
    running.start,
    doctor.doctor,
    feeds.feed,
    feeds.publish,
    feeds.explain,
    replay.replay,
    feeds.sequence,
    feeds.preview,
    traces.trace,
    data.prepare,
    data.world,
    load.load,
    backfill.backfill,
    rebuild.rebuild,
    lake.sql,
)


def build() -> typer.Typer:
    """The whole command tree."""
    app = typer.Typer(
        no_args_is_help=True, pretty_exceptions_enable=False, help="Corkboard: an event-driven home feed."
    )
    for command in COMMANDS:
        app.command()(command)
    app.add_typer(data.importer, name="import")
    app.add_typer(train_ranker.app, name="train")
    app.add_typer(chaos.app, name="chaos")
    app.add_typer(evaluate_reliability.app, name="evaluate")
    app.add_typer(calibrate.calibrate, name="calibrate")
    app.add_typer(definitions.app, name="definitions")
    app.add_typer(diagnose.app, name="diagnose")
    app.add_typer(lake.app, name="lake")
    app.add_typer(models.app, name="models")
    app.add_typer(parity.app, name="parity")
    app.add_typer(quota.app, name="quota")
    app.add_typer(zone.app, name="zone")
    return app


def main() -> None:
    """Run one command; a known error is one line and an exit code, never a stack trace."""
    try:
        build()()
    except CorkboardError as error:
        Output().remarks.print(f"[bold red]error[/bold red] {escape(error.message)}", soft_wrap=True)
        sys.exit(EXIT_CODES.get(error.status, 1))


if __name__ == "__main__":
    main()
