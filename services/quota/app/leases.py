"""Shares of global limits, granted by the one leader."""

import asyncio

from chassis.clock import Clock
from chassis.errors import NotFound, Unavailable
from chassis.protection.rule import Rule
from services.quota.app.leader import Leader
from services.quota.domain.divider import Claim
from services.quota.domain.lease_book import Lease, LeaseBook
from services.quota.ports import LeaderLedger, RuleLedger


class LeaseGranting:
    """Grants only while this process leads and no lease of an earlier leader can still be in use."""

    def __init__(
        self, rules: RuleLedger, ledger: LeaderLedger, leader: Leader, book: LeaseBook, clock: Clock, duration_ms: int
    ) -> None:
        self._rules, self._ledger, self._leader, self._book = rules, ledger, leader, book
        self._clock, self._duration_ms = clock, duration_ms
        self._recorded_until_ms = 0
        self._lock = asyncio.Lock()

    async def acquire(self, key: str, client_id: str, claim: Claim) -> Lease:
        """Raises: NotFound without a published rule, Unavailable while this process may not grant, Invalid."""
        async with self._lock:
            rule = await self._rule(key)
            now_ms = await self._may_grant()
            return self._book.acquire(rule, client_id, claim, now_ms)

    async def renew(self, lease_id: str, client_id: str, demand: float) -> Lease:
        """Raises: NotFound when it expired or its rule is gone, PermissionDenied, Unavailable, Invalid."""
        async with self._lock:
            now_ms = await self._may_grant()
            key = self._book.find(lease_id, client_id, now_ms).key
            rule = await self._rule(key)
            return self._book.renew(rule, lease_id, client_id, demand, now_ms)

    async def release(self, lease_id: str, client_id: str) -> bool:
        """Whether there was something to give back. Raises: PermissionDenied."""
        async with self._lock:
            return self._book.release(lease_id, client_id, self._clock.now_ms())

    async def _rule(self, key: str) -> Rule:
        published = await self._rules.published(key)
        if published is None:
            self._book.forget_key(key)
            raise NotFound(f"no published rule {key!r}", field="key")
        return published.rule

    async def _may_grant(self) -> int:
        now_ms = self._clock.now_ms()
        epoch = self._leader.epoch_at(now_ms)
        if epoch is None:
            raise Unavailable("this process does not lead: use the safe share", reason="not_leader", retry_after_s=1.0)
        if now_ms < self._leader.quiet_until_ms:
            wait_s = (self._leader.quiet_until_ms - now_ms) / 1000
            raise Unavailable(
                f"leases of the leader before may be in use for {wait_s:.1f} s more: use the safe share",
                reason="quiet_period",
                retry_after_s=wait_s,
            )
        if epoch != self._book.epoch:
            self._book.start_epoch(epoch)
            self._recorded_until_ms = 0
        if now_ms + self._duration_ms > self._recorded_until_ms:
            # One write per lease time, not per grant: recorded before the first lease that needs it.
            until_ms = now_ms + 2 * self._duration_ms
            if not await self._ledger.set_granted_until_ms(epoch, until_ms):
                raise Unavailable("another process leads now: use the safe share", reason="not_leader")
            self._recorded_until_ms = until_ms
        return now_ms
