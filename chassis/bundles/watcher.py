"""Keeps the announced bundles of a process current: verify, load beside the old one, swap, keep the old on failure."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from chassis.bundles.last_good import LastGood
from chassis.bundles.release import Release
from chassis.bundles.store import BundleStore
from chassis.bundles.version_metrics import VersionMetrics
from chassis.clock import SYSTEM_CLOCK, Clock
from chassis.deadline import Deadline
from chassis.errors import CorkboardError, Corrupt, Invalid, NotFound, Unavailable, Verdict
from chassis.kafka.bus import Bus, Record
from chassis.kafka.topic import Topic
from chassis.logs import get_logger
from chassis.metrics import Metrics

Apply = Callable[[Release, Path], Awaitable[None] | None]

RETRY_S = 15.0  # a store that was away is asked again; far above one load, far below a release every few minutes
CATCH_UP_S = 10.0  # with last-good copies in use, start-up waits this long for the topic and then goes on

log = get_logger(__name__)


class BundleWatcher:
    """Follows `topic` and calls `apply(release, directory)` for each new version of `names` (None: every name).

    `start` loads the last-good copies first, then the newest announcement of each name. With a last-good copy of
    every one of `names`, or when it is not required, the topic may be away. `apply` must load beside what is in use
    and swap one reference; when it raises, the old version stays in use and the failure is counted in
    `bundle_swaps_total{name,outcome}`.
    """

    def __init__(
        self,
        bus: Bus,
        topic: Topic,
        decode: Callable[[bytes], Release],
        store: BundleStore,
        names: set[str] | None,
        apply: Apply,
        state_dir: str | Path,
        metrics: Metrics,
        *,
        clock: Clock = SYSTEM_CLOCK,
        is_required: bool = True,
    ) -> None:
        self.name = f"bundles {topic.name}"
        self._decode, self._store, self._names, self._apply, self._clock = decode, store, names, apply, clock
        self._last_good, self._is_required = LastGood(Path(state_dir)), is_required
        self._table, self._patience = bus.table(self.name, topic, self._on_record), bus.patience
        self._metrics = metrics
        help_text = "Bundle versions seen, by what came of them."
        self._swaps = metrics.counter("bundle_swaps_total", help_text, ("name", "outcome"))
        self._version_metrics = VersionMetrics(metrics)
        self._current: dict[str, Release] = {}
        self._waiting: dict[str, Release] = {}  # announced, not yet tried or to be tried again
        self._is_caught_up = False
        self._lock = asyncio.Lock()

    @property
    def versions(self) -> Mapping[str, str]:
        """Name -> version in use."""
        return {name: release.version for name, release in self._current.items()}

    async def start(self, tasks: asyncio.TaskGroup) -> None:
        """Raises: what `bus.table` raises when the topic cannot be read and a required last-good copy is missing."""
        await self._load_last_good()
        if self._may_start_alone():
            following = tasks.create_task(self._follow_patiently(tasks))
            await self._patience.wait(following, CATCH_UP_S)
        else:
            await self._follow(tasks)
        tasks.create_task(self._retry_forever())

    def _may_start_alone(self) -> bool:
        """Whether start-up may go on without the topic."""
        is_complete = self._names is not None and self._names <= self._current.keys()
        return is_complete or not self._is_required

    async def stop(self, deadline: Deadline) -> None:
        """Stop following; what is in use stays in use."""
        await self._table.stop(deadline)

    async def _follow(self, tasks: asyncio.TaskGroup) -> None:
        await self._table.start(tasks)
        self._is_caught_up = True
        await self._swap_waiting()

    async def _follow_patiently(self, tasks: asyncio.TaskGroup) -> None:
        while True:
            try:
                return await self._follow(tasks)
            except Unavailable as error:
                log.warning("bundle topic unavailable, last-good copies in use", topic=self.name, error=str(error))
                await self._clock.sleep(RETRY_S)

    async def _retry_forever(self) -> None:
        while True:
            await self._clock.sleep(RETRY_S)
            if self._is_caught_up:
                await self._swap_waiting()

    async def _load_last_good(self) -> None:
        for name in sorted(self._last_good.names() if self._names is None else self._names):
            try:
                found = await asyncio.to_thread(self._last_good.load, name)
                if found is not None:
                    await self._swap_in(*found)
                    self._count(name, "last_good")
            except Exception as error:  # a damaged copy must not stop the start: the topic has the truth
                self._count(name, "last_good_failed")
                log.warning("last-good bundle not usable", bundle=name, error=repr(error))

    async def _on_record(self, record: Record) -> None:
        """Before the topic is read whole, only the newest of each name is remembered: old versions are not loaded."""
        key = (record.key or b"").decode(errors="replace")
        if record.value is None:
            self._count(key, "withdrawn")  # what is in use stays in use
            return
        try:
            release = self._decode(record.value)
        except CorkboardError as error:
            self._count(key, "undecodable")
            log.warning("bundle announcement not readable", bundle=key, error=str(error))
            return
        if self._names is not None and release.name not in self._names:
            return
        self._waiting[release.name] = release
        if self._is_caught_up:
            await self._swap_waiting()

    async def _swap_waiting(self) -> None:
        async with self._lock:
            for name, release in sorted(self._waiting.items()):
                if await self._try_swap(release) and self._waiting.get(name) == release:
                    del self._waiting[name]

    async def _try_swap(self, release: Release) -> bool:
        """Whether this release is settled: in use, or refused for good."""
        current = self._current.get(release.name)
        if current and (current.version, current.manifest_sha256) == (release.version, release.manifest_sha256):
            self._count(release.name, "unchanged")
            self._version_metrics.use(release.name, release.version)
            return True
        try:
            directory = await asyncio.to_thread(self._store.open, release)
            await self._swap_in(release, directory)
        except Exception as error:  # any failure keeps the old version: that is this part's promise
            self._count(release.name, "failed")
            self._version_metrics.refuse(release.name, release.version)
            log.warning("bundle swap failed", bundle=release.name, version=release.version, error=repr(error))
            return not _is_transient(error)
        self._count(release.name, "swapped")
        await self._keep(release, directory)
        return True

    async def _swap_in(self, release: Release, directory: Path) -> None:
        done = self._apply(release, directory)
        if inspect.isawaitable(done):
            await done
        self._current[release.name] = release
        self._version_metrics.use(release.name, release.version)

    async def _keep(self, release: Release, directory: Path) -> None:
        try:
            await asyncio.to_thread(self._last_good.keep, release, directory)
        except (OSError, CorkboardError) as error:
            self._count(release.name, "keep_failed")
            log.warning("last-good copy not kept", bundle=release.name, error=repr(error))

    def _count(self, name: str, outcome: str) -> None:
        self._swaps.labels(self._metrics.bounded(name, label="bundle"), outcome).inc()


def _is_transient(error: Exception) -> bool:
    if isinstance(error, Corrupt | Invalid):
        return False
    is_away = isinstance(error, CorkboardError) and error.verdict is Verdict.RETRY
    return isinstance(error, OSError | NotFound) or is_away
