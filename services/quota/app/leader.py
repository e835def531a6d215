"""Keeps this process the leader, or ready to become it."""

import asyncio

from chassis.clock import Clock
from chassis.deadline import Deadline
from chassis.errors import Unavailable
from chassis.logs import get_logger
from services.quota.domain.leadership import Candidacy
from services.quota.ports import LeaderLedger

CLAIMS_PER_DURATION = 4

log = get_logger(__name__)


class Leader:
    """Claims the leadership in the ledger again and again. A new epoch keeps quiet until every older lease is over."""

    def __init__(self, ledger: LeaderLedger, holder: str, clock: Clock, duration_s: float) -> None:
        self.name = "leader"
        self._ledger, self._holder, self._clock, self._duration_s = ledger, holder, clock, duration_s
        self._candidacy = Candidacy(holder, duration_s)
        self._last_epoch: int | None = None

    async def start(self, tasks: asyncio.TaskGroup) -> None:
        """Claim once, then keep claiming."""
        await self.claim()
        tasks.create_task(self._claim_forever())

    async def stop(self, deadline: Deadline) -> None:  # noqa: ARG002 - one short write
        """Let a standby take over at once."""
        self._candidacy.resign()
        await self._ledger.resign(self._holder)

    def epoch(self) -> int | None:
        """The epoch in which this process leads now; None when it does not, or cannot be sure."""
        return self._candidacy.epoch_at(self._clock.monotonic_s())

    def is_leader(self) -> bool:
        """Whether this process leads now."""
        return self.epoch() is not None

    def quiet_s(self) -> float:
        """Seconds until no lease of an earlier leader can be in use; 0 = none can."""
        return max(0.0, self._candidacy.quiet_until_s - self._clock.monotonic_s())

    async def claim(self) -> None:
        """One beat, or one try to take over. Raises: Unavailable."""
        sent_s = self._clock.monotonic_s()
        row = await self._ledger.claim(self._holder, self._candidacy.dead_row(sent_s))
        self._candidacy.observe(row, sent_s, self._clock.monotonic_s())
        epoch = self.epoch()
        if epoch != self._last_epoch:
            log.info("leading" if epoch else "standing by", epoch=row.epoch, leader=row.holder, quiet_s=self.quiet_s())
        self._last_epoch = epoch

    async def _claim_forever(self) -> None:
        while True:
            await self._clock.sleep(self._duration_s / CLAIMS_PER_DURATION)
            try:
                await self.claim()
            except Unavailable as error:
                log.warning("leadership not renewed", error=str(error))
