"""Shares of global limits, granted by the one leader."""

import asyncio

from chassis.clock import Clock
from chassis.errors import Conflict, NotFound, Unavailable
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
        self._lock = asyncio.Lock()

    async def acquire(self, key: str, client_id: str, claim: Claim, budget: str = "") -> Lease:
        """Raises: NotFound without a published rule, Conflict when it is not global, Unavailable, Invalid."""
        async with self._lock:
            rule = await self._rule(key)
            return self._book.acquire(rule, client_id, claim, await self._may_grant(), budget)

    async def renew(self, lease_id: str, client_id: str, demand: float, held_rate: float) -> Lease:
        """Raises: NotFound when it expired or its rule is gone, PermissionDenied, Unavailable, Invalid."""
        async with self._lock:
            key = self._book.find(lease_id, client_id, await self._may_grant()).key
            rule = await self._rule(key)
            return self._book.renew(rule, lease_id, client_id, demand, await self._may_grant(), held_rate)

    async def release(self, lease_id: str, client_id: str) -> bool:
        """Whether there was something to give back. Raises: PermissionDenied."""
        async with self._lock:
            return self._book.release(lease_id, client_id, self._now_ms())

    async def _rule(self, key: str) -> Rule:
        published = await self._rules.published(key)
        if published is None:
            self._book.forget_key(key)
            raise NotFound(f"no published rule {key!r}", field="key")
        if not published.rule.is_global:
            self._book.forget_key(key)
            raise Conflict(f"rule {key!r} is not global: every process has the whole limit", field="key")
        return published.rule

    async def _may_grant(self) -> int:
        """The time, when this process may grant at that time. Nothing is awaited between it and the grant."""
        epoch = self._check_lead()
        if epoch != self._book.epoch:
            if not await self._ledger.cover_leases(epoch, self._duration_ms):
                raise Unavailable("another process leads now: use the safe share", reason="not_leader")
            self._book.start_epoch(epoch, self._now_ms())
            if self._check_lead() != epoch:
                raise Unavailable("the leader changed: use the safe share", reason="not_leader")
        return self._now_ms()

    def _check_lead(self) -> int:
        epoch = self._leader.epoch()
        if epoch is None:
            raise Unavailable("this process does not lead: use the safe share", reason="not_leader", retry_after_s=1.0)
        wait_s = self._leader.quiet_s()
        if wait_s > 0:
            raise Unavailable(
                f"leases of the leader before may be in use for {wait_s:.1f} s more: use the safe share",
                reason="quiet_period",
                retry_after_s=wait_s,
            )
        return epoch

    def _now_ms(self) -> int:
        return int(self._clock.monotonic_s() * 1000)
