"""A roll-out as a process sees it: the newest good version serves, a bad one is refused and said so."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass
from pathlib import Path

import pytest

from chassis.bundles import BundleStore, BundleWatcher, Release
from chassis.deadline import Deadline
from chassis.health import Health
from chassis.metrics import Metrics
from chassis.tasks import Tasks
from chassis.testing import FakeClock, InMemoryBus, eventually
from protos import topics
from protos.releases import decode_release, encode_release
from sequences.definitions.active import SETTLE_S, ActiveDefinitions
from sequences.definitions.bundle import FILE, NAME
from sequences.definitions.definitions import Definitions, assemble
from sequences.definitions.enrichment import Column, Enrichment
from sequences.definitions.event_type import EventType

CLICK = EventType(name="click", owner="t")
FIRST = assemble([CLICK])
SECOND = assemble([CLICK.model_copy(update={"retention_days": 3})])
FUTURE = json.dumps({**json.loads(FIRST.canonical_json()), "format": 2}).encode()
UNKNOWN_EXECUTOR = assemble(
    [Enrichment(name="magic", owner="t", executor="magic", reads=("pin_id",), writes=(Column(name="x", type="int64"),))]
).canonical_json()
"""What a newer release of the code could run and this one cannot."""


@dataclass
class Process:
    """What one process has, and how it is told of a bundle."""

    bus: InMemoryBus
    store: BundleStore
    active: ActiveDefinitions
    metrics: Metrics

    def announce(self, version: str, content: bytes) -> None:
        release = self.store.write(NAME, version, {FILE: content})
        self.bus.append(topics.DEFINITIONS_RELEASED, encode_release(release), NAME.encode(), 0, {})

    def value(self, metric: str, version: str) -> float | None:
        return self.metrics.registry.get_sample_value(metric, {"name": NAME, "version": version})


def watcher_of(process: Process, state: Path) -> BundleWatcher:
    return BundleWatcher(
        process.bus,
        topics.DEFINITIONS_RELEASED,
        decode_release,
        process.store,
        {NAME},
        process.active.apply,
        state,
        process.metrics,
    )


@pytest.fixture
async def process(tmp_path: Path) -> AsyncIterator[Process]:
    """Works with FIRST."""
    process = Process(InMemoryBus(), BundleStore(str(tmp_path / "b")), ActiveDefinitions(Health()), Metrics("test"))
    process.announce(FIRST.version, FIRST.canonical_json())
    watcher = watcher_of(process, tmp_path / "state")
    async with Tasks() as tasks:
        await watcher.start(tasks)
        yield process
        await watcher.stop(Deadline.after(1.0))
        await tasks.end()


async def test_the_version_in_use_is_a_metric(process: Process) -> None:
    assert process.value("bundle_active_info", FIRST.version) == 1
    process.announce(SECOND.version, SECOND.canonical_json())
    await eventually(lambda: process.active.current == SECOND, within_s=5)
    await eventually(lambda: process.value("bundle_active_info", SECOND.version) == 1)
    assert process.value("bundle_active_info", FIRST.version) is None


@pytest.mark.parametrize("content", [b"{", b"", FUTURE, UNKNOWN_EXECUTOR], ids=["cut", "empty", "future", "unknown"])
async def test_a_bad_bundle_keeps_the_good_one_and_says_so(process: Process, content: bytes) -> None:
    process.announce("bad", content)
    await eventually(lambda: process.value("bundle_refused_info", "bad") == 1)
    assert process.active.current == FIRST
    assert process.value("bundle_active_info", FIRST.version) == 1
    process.announce(FIRST.version, FIRST.canonical_json())  # the operator rolls back
    await eventually(lambda: process.value("bundle_refused_info", "bad") is None)
    process.announce(SECOND.version, SECOND.canonical_json())
    await eventually(lambda: process.active.current == SECOND, within_s=5)


async def test_changed_bytes_are_refused(process: Process, tmp_path: Path) -> None:
    release = process.store.write(NAME, SECOND.version, {FILE: SECOND.canonical_json()})
    (tmp_path / "b" / NAME / SECOND.version / FILE).write_bytes(SECOND.canonical_json() + b" ")
    process.bus.append(topics.DEFINITIONS_RELEASED, encode_release(release), NAME.encode(), 0, {})
    await eventually(lambda: process.value("bundle_refused_info", SECOND.version) == 1)
    assert process.active.current == FIRST


async def test_new_event_types_are_let_in_last(tmp_path: Path) -> None:
    clock = FakeClock()
    active = ActiveDefinitions(Health(), FIRST, clock)
    wider = assemble([CLICK, EventType(name="wink", owner="t")])

    def swap(definitions: Definitions) -> Awaitable[None]:
        folder = tmp_path / definitions.version
        folder.mkdir()
        (folder / FILE).write_bytes(definitions.canonical_json())
        return active.apply(Release(NAME, definitions.version, "", "", 0), folder)

    widening = asyncio.ensure_future(swap(wider))
    await eventually(lambda: clock._sleepers)
    assert active.current == FIRST
    clock.advance(SETTLE_S)
    await widening
    assert active.current == wider
    await swap(FIRST)  # what lets in less is used at once
    assert active.current == FIRST
