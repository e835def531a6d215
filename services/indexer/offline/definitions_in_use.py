"""The definitions that services use now, for a job that has no watcher."""

import asyncio

from chassis.bundles import BundleStore, Release
from chassis.deadline import Deadline
from chassis.errors import NotFound
from chassis.kafka.bus import Bus, Record
from protos import topics
from protos.releases import decode_release
from sequences.definitions import bundle
from sequences.definitions.definitions import Definitions

STOP_S = 3.0


async def definitions_in_use(bus: Bus, bundles: BundleStore) -> Definitions:
    """Raises: NotFound when none were ever activated, Corrupt, Unavailable."""
    releases: list[Release] = []

    def apply(record: Record) -> None:
        if record.value is not None and (record.key or b"").decode() == bundle.NAME:
            releases[:] = [decode_release(record.value)]

    table = bus.table("definitions", topics.DEFINITIONS_RELEASED, apply)
    async with asyncio.TaskGroup() as tasks:
        await table.start(tasks)
        await table.stop(Deadline.after(STOP_S))
    if not releases:
        raise NotFound("no definitions were ever activated: corkboard definitions activate", reason="no_definitions")
    return bundle.load(await asyncio.to_thread(bundles.open, releases[0]))
