"""Which definitions and which ranker are in use, and how other definitions become active."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from chassis.bundles import BundleStore, Release
from chassis.clock import SYSTEM_CLOCK
from chassis.errors import Invalid, NotFound
from chassis.kafka.bus import Bus
from corkboard import releases
from corkboard.session import Endpoints
from protos import topics
from sequences.definitions import activations, bundle
from sequences.definitions.definitions import Definitions
from sequences.definitions.diff import unversioned_changes

T = TypeVar("T")
RANKER = "ranker"
ANNOUNCED_BY = "corkboard parity"


@dataclass(frozen=True)
class InUse:
    """The newest announcements; `ranker_version` is "" when none was released."""

    definitions: Release
    ranker_version: str


def in_use(endpoints: Endpoints) -> InUse:
    """What every service works with now. Raises: NotFound before the first release, Unavailable."""

    async def work(bus: Bus) -> InUse:
        definitions = (await releases.read(bus, topics.DEFINITIONS_RELEASED)).get(bundle.NAME)
        if definitions is None:
            raise NotFound("no definitions have been released yet")
        ranker = (await releases.read(bus, topics.MODELS_RELEASED)).get(RANKER)
        return InUse(definitions, ranker.version if ranker else "")

    return _run(endpoints, work)


def definitions_of(store: BundleStore, version: str) -> Definitions:
    """The definitions of a compiled version. Raises: NotFound naming the known ones, Corrupt."""
    return bundle.load(store.open(_release(store, version)))


def check_types(store: BundleStore, old: str, new: str) -> None:
    """Raises: Invalid when a type changed and no version was raised."""
    problems = unversioned_changes(definitions_of(store, old), definitions_of(store, new))
    if problems:
        raise Invalid("; ".join(map(str, problems)), field=problems[0].where, reason=problems[0].code)


def activate(store: BundleStore, endpoints: Endpoints, version: str, replaced: str, *, is_rollback: bool) -> int:
    """Remember and announce, in one step for all event types; returns the time, epoch milliseconds."""
    release, now_ms = _release(store, version), SYSTEM_CLOCK.now_ms()
    activations.record(store, activations.Activation(version, replaced, is_rollback, now_ms, ANNOUNCED_BY))
    _run(endpoints, lambda bus: releases.announce(bus, topics.DEFINITIONS_RELEASED, release, ANNOUNCED_BY))
    return now_ms


def _release(store: BundleStore, version: str) -> Release:
    known = {release.version: release for release in store.list(bundle.NAME)}
    if version not in known:
        raise NotFound(f"no compiled version {version!r}; there are: {', '.join(known) or 'none'}", field="version")
    return known[version]


def _run(endpoints: Endpoints, work: Callable[[Bus], Coroutine[Any, Any, T]]) -> T:
    async def main() -> T:
        async with releases.bus(endpoints.kafka) as bus:
            return await work(bus)

    return asyncio.run(main())
