"""Keeps this process the leader, or ready to become it."""

import asyncio

from chassis.clock import Clock
from chassis.deadline import Deadline
from chassis.errors import Unavailable
from chassis.logs import get_logger
from services.quota.ports import LeaderLedger

log = get_logger(__name__)


class Leader:
    """Claims the leadership every third of its duration. A new epoch keeps quiet until every older lease is over."""

    def __init__(self, ledger: LeaderLedger, holder: str, clock: Clock, duration_s: float) -> None:
        self.name = "leader"
        self.quiet_until_ms = 0
        self._ledger, self._holder, self._clock, self._duration_s = ledger, holder, clock, duration_s
        self._epoch: int | None = None
        self._until_ms = 0

    async def start(self, tasks: asyncio.TaskGroup) -> None:
        """Claim once, then keep claiming."""
        await self._claim()
        tasks.create_task(self._claim_forever())

    async def stop(self, deadline: Deadline) -> None:  # noqa: ARG002 - one short write
        """Let a standby take over at once."""
        if self._epoch is not None:
            self._epoch = None
            await self._ledger.resign(self._holder)

    def epoch_at(self, now_ms: int) -> int | None:
        """The epoch in which this process leads at `now_ms`; None when it does not, or cannot be sure."""
        return self._epoch if now_ms < self._until_ms else None

    def is_leader(self) -> bool:
        """Whether this process leads now."""
        return self.epoch_at(self._clock.now_ms()) is not None

    async def _claim(self) -> None:
        now_ms, duration_ms = self._clock.now_ms(), int(self._duration_s * 1000)
        epoch = await self._ledger.claim_leadership(self._holder, now_ms, duration_ms)
        if epoch is not None and epoch != self._epoch:
            self.quiet_until_ms = await self._ledger.granted_until_ms()
            log.info("leading", epoch=epoch, quiet_until_ms=self.quiet_until_ms)
        self._epoch = epoch
        self._until_ms = now_ms + duration_ms if epoch is not None else 0

    async def _claim_forever(self) -> None:
        while True:
            await self._clock.sleep(self._duration_s / 3)
            try:
                await self._claim()
            except Unavailable as error:
                log.warning("leadership not renewed", error=str(error))
