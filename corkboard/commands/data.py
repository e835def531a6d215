"""`prepare`, `world`, `import`: a Kafka made ready, a running Corkboard filled with a seeded world or public data."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from chassis.clock import SYSTEM_CLOCK
from chassis.errors import Invalid
from corkboard.commands.output import Json, Output, pairs
from corkboard.local import preparation
from corkboard.local.home import Home
from corkboard.movielens import replay
from corkboard.movielens.reader import MovieLens
from corkboard.session import Endpoints, Session, run
from corkboard.world.publish import publish_world
from corkboard.world.truth import WorldSize

importer = typer.Typer(no_args_is_help=True, help="Replay public data sets through ingest.")


def world(
    pins: Annotated[int, typer.Option(min=50, help="How many pins.")] = 5_000,
    people: Annotated[int, typer.Option(min=5, help="How many people.")] = 500,
    days: Annotated[int, typer.Option(min=1, help="How long the past is.")] = 28,
    seed: Annotated[int, typer.Option(help="The same seed makes the same world.")] = 7,
    json_: Json = False,
) -> None:
    """Publish a seeded world: pins, people, weeks of served feeds and what they did.

    Example: corkboard world --pins 1000 --people 100
    """
    output = Output(json_)
    size = WorldSize(num_pins=pins, num_people=people, num_days=days, seed=seed)
    report = run(Endpoints.of_running(Home.from_environment()), lambda session: publish_world(session, size, output))
    output.result(report, lambda: pairs("world", report))


@importer.command()
def movielens(
    path: Annotated[Path, typer.Argument(help="Folder with ml-100k.inter and ml-100k.item.")],
    hold_out: Annotated[
        bool, typer.Option("--hold-out-last", help="Leave each user's last rating out, for evaluation.")
    ] = False,
    json_: Json = False,
) -> None:
    """Replay MovieLens through ingest, enrich and indexer; check by count and digest that nothing is lost or doubled.

    Example: corkboard import movielens path/to/ml-100k --hold-out-last
    """
    output = Output(json_)
    data = MovieLens.read(path, SYSTEM_CLOCK.now_ms())

    async def work(session: Session) -> dict[str, Any]:
        return await replay.replay(session, data, output, hold_out_last=hold_out)

    report = run(Endpoints.of_running(Home.from_environment()), work)
    output.result(report, lambda: pairs("MovieLens", report))
    if not report["is_complete"]:
        raise typer.Exit(1)


def prepare(
    replication: Annotated[int, typer.Option(min=1, help="Copies of each record; as many brokers are needed.")] = 3,
    json_: Json = False,
) -> None:
    """Create the topics that are missing, and activate the definitions that come with the code when none are active.

    For a Kafka that no `corkboard up` looks after, before the first service starts; again it changes nothing.

    Example: corkboard prepare --replication 3, with CORKBOARD_KAFKA=kafka:9092
    """
    output, kafka = Output(json_), os.environ.get("CORKBOARD_KAFKA", "")
    if not kafka:
        raise Invalid("CORKBOARD_KAFKA names no Kafka: host:port,…", field="CORKBOARD_KAFKA")
    preparation.prepare(Home.from_environment(), kafka, replication, output.say)
    output.result({"kafka": kafka}, lambda: f"{kafka} has all topics and active definitions")
