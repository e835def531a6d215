"""Tells watchers of every rule that comes into force or goes."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

from chassis.errors import Overloaded
from services.quota.domain.rule_version import RuleState, RuleVersion
from services.quota.ports import RuleLedger

MAX_UNREAD = 1_000  # changes a slow watcher may be behind before it must begin again
MAX_WATCHERS = 1_000


class RuleWatch:
    """Fan-out within this process of what the ledger says, whichever process changed it."""

    def __init__(self, ledger: RuleLedger) -> None:
        self._ledger = ledger
        self._queues: set[asyncio.Queue[RuleVersion | None]] = set()
        self._seen: dict[str, RuleVersion] = {}
        self._lock = asyncio.Lock()

    async def refresh(self) -> None:
        """Tell every watcher what changed since the last time. Raises: Unavailable."""
        async with self._lock:
            if self._queues:
                await self._compare()

    async def watch(self, key_prefix: str) -> AsyncIterator[RuleVersion]:
        """Every published rule under `key_prefix`, then every change; a revoked one comes as revoked.

        Raises: Overloaded when the watcher was too slow or there are too many.
        """
        if len(self._queues) >= MAX_WATCHERS:
            raise Overloaded(f"{MAX_WATCHERS} watchers already", reason="too_many_watchers", retry_after_s=5.0)
        queue: asyncio.Queue[RuleVersion | None] = asyncio.Queue()
        async with self._lock:
            begun = await self._compare()
            self._queues.add(queue)
        try:
            for version in begun.values():
                if version.key.startswith(key_prefix):
                    yield version
            while (changed := await queue.get()) is not None:
                if changed.key.startswith(key_prefix):
                    yield changed
            raise Overloaded(f"{MAX_UNREAD} changes unread: watch again", reason="slow_watcher", retry_after_s=1.0)
        finally:
            self._queues.discard(queue)

    async def _compare(self) -> dict[str, RuleVersion]:
        """What is in force now; what is new of it is told."""
        now = {version.key: version for version in await self._ledger.list_rules("", is_published_only=True)}
        before, self._seen = self._seen, now
        for key, version in now.items():
            if before.get(key) != version:
                self._tell(version)
        for key in before.keys() - now.keys():
            self._tell(await self._gone(before[key]))
        return now

    async def _gone(self, known: RuleVersion) -> RuleVersion:
        return await self._ledger.read(known.key, known.version) or replace(known, state=RuleState.REVOKED)

    def _tell(self, version: RuleVersion) -> None:
        """Pass on; who is too far behind is cut off."""
        for queue in list(self._queues):
            if queue.qsize() >= MAX_UNREAD:
                self._queues.discard(queue)
                queue.put_nowait(None)
            else:
                queue.put_nowait(version)
