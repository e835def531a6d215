"""How an offline job writes a bundle and tells the services about it."""

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from chassis.bundles import BundleStore, Release
from chassis.clock import SYSTEM_CLOCK
from chassis.deadline import Deadline
from chassis.kafka.bus import Bus
from modeling import release_log
from protos.releases import encode_release
from protos.topics import MODELS_RELEASED

STOP_S = 5.0  # time a producer has to flush and close


def new_version(files: Mapping[str, bytes]) -> str:
    """A version that sorts by time and tells equal content apart from changed content."""
    digest = hashlib.sha256()
    for name in sorted(files):
        digest.update(name.encode() + b"\0" + files[name])
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{digest.hexdigest()[:8]}"


def write_bundle(
    store: BundleStore, name: str, files: Mapping[str, bytes], inputs: Mapping[str, str], released_by: str
) -> Release:
    """A new version of `name` in the store. Raises: what BundleStore.write raises."""
    return store.write(name, new_version(files), dict(files), dict(inputs), released_by=released_by)


async def announce(bus: Bus, releases: Sequence[Release]) -> None:
    """Tell every process about the releases; returns when all replicas have them. Raises: Unavailable.

    Remembers first: an announcement without a record could not be undone, a record without one does no harm.
    """
    for release in releases:
        await asyncio.to_thread(release_log.record, release, release.released_by)
    producer = bus.producer()
    async with asyncio.TaskGroup() as tasks:
        await producer.start(tasks)
        try:
            for release in releases:
                await producer.send(MODELS_RELEASED, encode_release(release), key=release.name.encode())
        finally:
            await producer.stop(Deadline.after(STOP_S, SYSTEM_CLOCK))
