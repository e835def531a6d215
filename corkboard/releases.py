"""Reads and writes announcements of bundles, and compiles the repository's definitions into one."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import definitions
from chassis.bundles import BundleStore, Release
from chassis.clock import SYSTEM_CLOCK
from chassis.deadline import Deadline
from chassis.health import Health
from chassis.kafka.bus import Bus, KafkaBus, Record
from chassis.kafka.security import KafkaSecurity
from chassis.kafka.topic import Topic
from chassis.metrics import Metrics
from protos.releases import decode_release, encode_release
from sequences.definitions.compile import compile_definitions, write_bundle

STOP_S = 3.0


@asynccontextmanager
async def bus(kafka: str) -> AsyncIterator[Bus]:
    """A Kafka bus for one command."""
    yield KafkaBus(
        kafka,
        zone="",
        instance="corkboard-cli",
        metrics=Metrics("cli"),
        health=Health(),
        clock=SYSTEM_CLOCK,
        security=KafkaSecurity.of_environment(),
    )


async def read(bus: Bus, topic: Topic) -> Mapping[str, Release]:
    """The newest announcement of each name."""
    newest: dict[str, Release] = {}

    def apply(record: Record) -> None:
        name = (record.key or b"").decode()
        if record.value is None:
            newest.pop(name, None)
        else:
            newest[name] = decode_release(record.value)

    table = bus.table("releases", topic, apply)
    async with asyncio.TaskGroup() as tasks:
        await table.start(tasks)
        await table.stop(Deadline.after(STOP_S))
    return newest


async def announce(bus: Bus, topic: Topic, release: Release, released_by: str) -> None:
    """Tell every process of a bundle; returns when all replicas know."""
    stamped = replace(release, released_time_ms=SYSTEM_CLOCK.now_ms(), released_by=released_by)
    producer = bus.producer()
    async with asyncio.TaskGroup() as tasks:
        await producer.start(tasks)
        await producer.send(topic, encode_release(stamped), key=release.name.encode())
        await producer.stop(Deadline.after(STOP_S))


def compile_to_bundle(bundles_uri: str, folder: Path | None = None) -> Release:
    """Compile `definitions/` (or another folder of that shape) and write the bundle.

    Raises: Invalid with every problem found.
    """
    return write_bundle(compile_definitions(folder or repository_folder()), BundleStore(bundles_uri))


def repository_folder() -> Path:
    """The definitions that come with the code."""
    return Path(definitions.__file__).parent
