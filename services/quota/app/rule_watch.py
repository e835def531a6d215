"""Tells watchers of every rule that comes into force or goes."""

import asyncio
from collections.abc import AsyncIterator

from chassis.errors import Overloaded
from services.quota.domain.rule_version import RuleVersion
from services.quota.ports import RuleLedger

MAX_UNREAD = 1_000  # changes a slow watcher may be behind before it must begin again
MAX_WATCHERS = 1_000


class RuleWatch:
    """Fan-out within this process; a watcher begins with everything in force."""

    def __init__(self, ledger: RuleLedger) -> None:
        self._ledger = ledger
        self._queues: set[asyncio.Queue[RuleVersion | None]] = set()

    def tell(self, version: RuleVersion) -> None:
        """Pass `version` to every watcher; one that is too far behind is cut off."""
        for queue in list(self._queues):
            if queue.qsize() >= MAX_UNREAD:
                self._queues.discard(queue)
                queue.put_nowait(None)
            else:
                queue.put_nowait(version)

    async def watch(self, key_prefix: str) -> AsyncIterator[RuleVersion]:
        """Every published rule under `key_prefix`, then every change; a revoked one comes as revoked.

        Raises: Overloaded when the watcher was too slow or there are too many.
        """
        if len(self._queues) >= MAX_WATCHERS:
            raise Overloaded(f"{MAX_WATCHERS} watchers already", reason="too_many_watchers", retry_after_s=5.0)
        queue: asyncio.Queue[RuleVersion | None] = asyncio.Queue()
        self._queues.add(queue)
        try:
            for version in await self._ledger.list_rules(key_prefix, is_published_only=True):
                yield version
            while (changed := await queue.get()) is not None:
                if changed.key.startswith(key_prefix):
                    yield changed
            raise Overloaded(f"{MAX_UNREAD} changes unread: watch again", reason="slow_watcher", retry_after_s=1.0)
        finally:
            self._queues.discard(queue)
