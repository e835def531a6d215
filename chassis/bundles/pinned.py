"""One version of a bundle, for a process that must not follow announcements: one that runs beside the real one."""

import asyncio
import inspect
from collections.abc import Callable
from pathlib import Path

from chassis.bundles.release import Release
from chassis.bundles.store import BundleStore
from chassis.bundles.version_metrics import VersionMetrics
from chassis.bundles.watcher import Apply, BundleWatcher
from chassis.clock import SYSTEM_CLOCK, Clock
from chassis.deadline import Deadline
from chassis.errors import Invalid, NotFound
from chassis.kafka.bus import Bus
from chassis.kafka.topic import Topic
from chassis.lifecycle import Part
from chassis.metrics import Metrics


class PinnedBundle:
    """Calls `apply(release, directory)` once, at the start."""

    def __init__(self, store: BundleStore, name: str, version: str, apply: Apply, metrics: Metrics) -> None:
        self.name = f"bundle {name} {version}"
        self._store, self._bundle, self._version, self._apply = store, name, version, apply
        self._version_metrics = VersionMetrics(metrics)

    async def start(self, tasks: asyncio.TaskGroup) -> None:  # noqa: ARG002 - nothing goes on afterwards
        """Raises: NotFound naming the version, Corrupt, what `apply` raises."""
        release = await asyncio.to_thread(self._find)
        done = self._apply(release, await asyncio.to_thread(self._store.open, release))
        if inspect.isawaitable(done):
            await done
        self._version_metrics.use(release.name, release.version)

    async def stop(self, deadline: Deadline) -> None:
        """Nothing to do."""

    def _find(self) -> Release:
        known = {release.version: release for release in self._store.list(self._bundle)}
        if self._version not in known:
            raise NotFound(f"bundle {self._bundle} has no version {self._version!r}", field="definitions_version")
        return known[self._version]


def bundle_part(
    pinned_version: str,
    bus: Bus,
    topic: Topic,
    decode: Callable[[bytes], Release],
    store: BundleStore,
    names: set[str],
    apply: Apply,
    state_dir: str | Path,
    metrics: Metrics,
    *,
    clock: Clock = SYSTEM_CLOCK,
) -> Part:
    """The pinned version of the one name, or a watcher when none is pinned. Raises: Invalid."""
    if not pinned_version:
        return BundleWatcher(bus, topic, decode, store, names, apply, state_dir, metrics, clock=clock)
    if len(names) != 1:
        raise Invalid(f"one bundle can be pinned, not {len(names)}", field="definitions_version")
    return PinnedBundle(store, next(iter(names)), pinned_version, apply, metrics)
