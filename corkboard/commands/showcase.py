"""`demo`: the main job from an empty folder to a feed that answers to a click, on real servers."""

import json
import signal
from typing import Annotated

import typer

from corkboard.commands.evaluation import train_everything
from corkboard.commands.output import Output
from corkboard.commands.running import end_stale, is_running, run_foreground
from corkboard.local.home import Home
from corkboard.local.options import Options
from corkboard.session import Endpoints, run
from corkboard.tour import tour
from corkboard.world.publish import publish_world
from corkboard.world.truth import WorldSize

PERSON = "person-00042"


def demo(
    person: Annotated[str, typer.Option(help="Whose feed to show.")] = PERSON,
    pins: Annotated[int, typer.Option(min=200, help="Size of the world.")] = 5_000,
    people: Annotated[int, typer.Option(min=50, help="Size of the world.")] = 500,
    port_base: Annotated[int, typer.Option(help="As in corkboard up.")] = 7100,
    exit_after: Annotated[bool, typer.Option("--exit", help="Stop everything when the tour is over.")] = False,
) -> None:
    """Start everything, make a world, train, show a feed, save a pin, show the changed feed and the trace of both.

    Example: corkboard demo --exit
    """
    output, home = Output(), Home.from_environment()
    size = WorldSize(num_pins=pins, num_people=people)
    if is_running(home):
        show(home, size, person, output)
        return
    end_stale(home, output.say)

    def when_ready() -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        show(home, size, person, output)
        if exit_after:
            raise typer.Exit

    run_foreground(home, Options(port_base=port_base), output.say, when_ready)


def show(home: Home, size: WorldSize, person: str, output: Output) -> None:
    """Fill and train what is missing, then take the tour."""
    endpoints = Endpoints.of_running(home)
    marker = home.data / "world.json"
    if not marker.exists():
        report = run(endpoints, lambda session: publish_world(session, size, output))
        output.say(f"world: {report['pins']:,} pins, {report['events']:,} events at {report['events_per_s']:,}/s")
        marker.write_text(json.dumps(report))
    models = home.data / "models.json"
    if not models.exists():
        report = train_everything(home, endpoints, "training", output)
        models.write_text(json.dumps({name: part.get("versions") for name, part in report.items()}))
    run(endpoints, lambda session: tour(session, home, person, output))
