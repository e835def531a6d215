"""Which definitions a backfill runs under: the active ones, or those of a given version."""

import asyncio
from collections.abc import Mapping

from chassis.bundles import BundleStore, Release
from chassis.deadline import Deadline
from chassis.errors import NotFound
from chassis.kafka.bus import Bus, Record
from protos import topics
from protos.releases import decode_release
from sequences.definitions import activations, bundle
from sequences.definitions.definitions import Definitions
from sequences.definitions.validate import check

STOP_S = 3.0


def of_version(bundles: BundleStore, version: str) -> Definitions:
    """The definitions of a compiled version, active or not. Raises: NotFound, Corrupt, Invalid."""
    known = {release.version: release for release in bundles.list(bundle.NAME)}
    if version not in known:
        raise NotFound(
            f"there are no definitions {version!r}; there are: {', '.join(sorted(known)) or 'none'}",
            field="definitions",
            reason="unknown_definitions",
        )
    return _opened(bundles, known[version])


async def active(bundles: BundleStore, bus: Bus) -> Definitions:
    """What every service works with now. Raises: NotFound before the first release, Unavailable, Corrupt."""
    newest: dict[bytes, Release] = {}

    def apply(record: Record) -> None:
        if record.value is not None:
            newest[record.key or b""] = decode_release(record.value)

    table = bus.table("active definitions", topics.DEFINITIONS_RELEASED, apply)
    async with asyncio.TaskGroup() as tasks:
        await table.start(tasks)
        await table.stop(Deadline.after(STOP_S))
    release = newest.get(bundle.NAME.encode())
    if release is None:
        raise NotFound("no definitions have been released yet", reason="no_definitions")
    return _opened(bundles, release)


def activated_ms(bundles: BundleStore) -> Mapping[str, int]:
    """When each version was last activated; empty when no one kept a record. Raises: Corrupt."""
    return {each.version: each.time_ms for each in activations.recorded(bundles)}


def _opened(bundles: BundleStore, release: Release) -> Definitions:
    definitions = bundle.load(bundles.open(release))
    check(definitions)
    return definitions
