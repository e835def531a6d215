"""Keeps the leases of this process alive in the background; no request ever waits for it."""

import asyncio

from chassis.clock import SYSTEM_CLOCK, Clock
from chassis.deadline import Deadline
from chassis.errors import CorkboardError, NotFound, PermissionDenied
from chassis.logs import get_logger
from chassis.metrics import Metrics
from chassis.protection.lease import LeaseSource
from chassis.protection.lease_desk import Ask, LeaseDesk
from chassis.protection.protection import Protection

TICK_S = 0.25  # far below the pause between renewals
CALL_S = 1.0  # a call that takes longer costs more of the lease than it is worth
NUM_CALLS_AT_ONCE = 16
RELEASE_S = 1.0

log = get_logger(__name__)


class LeaseKeeper:
    """Asks for a lease of every global budget of `protection` and renews it; releases all of them at stop."""

    def __init__(
        self,
        protection: Protection,
        source: LeaseSource,
        *,
        clock: Clock = SYSTEM_CLOCK,
        metrics: Metrics | None = None,
    ) -> None:
        self.name = "leases"
        self.desk = LeaseDesk(protection.leased_budgets)
        self._source, self._clock = source, clock
        self._room = asyncio.Semaphore(NUM_CALLS_AT_ONCE)
        self._was_stale = 0
        metrics = metrics or Metrics("protection")
        self._calls = metrics.counter("protection_lease_calls_total", "Calls to the lease service.", ("outcome",))
        stale = metrics.gauge("protection_leases_stale", "Global budgets that use their safe share, without a lease.")
        stale.set_function(lambda: self.desk.num_stale(clock.monotonic_s()))

    async def start(self, tasks: asyncio.TaskGroup) -> None:
        """One round of calls at most, so that the doors open with leases; then in the background."""
        await self.round()
        tasks.create_task(self._keep())

    async def stop(self, deadline: Deadline) -> None:
        """Give every share back, as far as the deadline allows."""
        try:
            async with asyncio.timeout(max(0.05, deadline.capped(RELEASE_S).remaining_s())):
                await asyncio.gather(*(self._release(lease_id) for lease_id in self.desk.held()))
        except TimeoutError:
            log.warning("leases not released, they expire")

    async def round(self) -> None:
        """Every call that is due now."""
        now_s = self._clock.monotonic_s()
        calls = [self._call(ask) for ask in self.desk.due(now_s)]
        calls += [self._release(lease_id) for lease_id in self.desk.abandoned()]
        if calls:
            await asyncio.gather(*calls)
            self._tell()

    async def _keep(self) -> None:
        while True:
            await self._clock.sleep(TICK_S)
            await self.round()

    async def _call(self, ask: Ask) -> None:
        outcome = "failed"
        try:
            async with self._room, asyncio.timeout(CALL_S):
                if ask.lease_id:
                    grant = await self._source.renew(ask.lease_id, ask.demand_per_s, ask.held_per_s)
                else:
                    grant = await self._source.acquire(ask.of.key, ask.of.budget, ask.demand_per_s)
        except (CorkboardError, TimeoutError) as error:
            is_lost = isinstance(error, (NotFound, PermissionDenied))
            self.desk.failed(ask, self._clock.monotonic_s(), is_lost=is_lost)
        else:
            outcome = "granted" if self.desk.granted(ask, grant, self._clock.monotonic_s()) else "not_usable"
        self._calls.labels(outcome).inc()

    async def _release(self, lease_id: str) -> None:
        try:
            async with self._room, asyncio.timeout(CALL_S):
                await self._source.release(lease_id)
        except (CorkboardError, TimeoutError) as error:
            log.info("lease not released, it expires", error=str(error))

    def _tell(self) -> None:
        num_stale = self.desk.num_stale(self._clock.monotonic_s())
        if (num_stale > 0) != (self._was_stale > 0):
            log.warning("global budgets without a lease", num_stale=num_stale)
        self._was_stale = num_stale
