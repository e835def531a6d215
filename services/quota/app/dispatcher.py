"""Brings what the ledger says is published to every process and to everyone who watches."""

import asyncio
from collections.abc import Callable

from chassis.clock import Clock
from chassis.deadline import Deadline
from chassis.errors import Conflict, Unavailable
from chassis.health import Health
from services.quota.app.rule_watch import RuleWatch
from services.quota.ports import RuleDispatch, RuleLedger, RuleOutbox

DISPATCH_S = 3.0  # how long a publisher waits for the topic; under the limit of its call
STANDBY_POLL_S = 0.1  # a standby waits for the leader to send what it published


class Dispatcher:
    """Empties the outbox: at once when asked, and again and again while the topic is away.

    A key's record is what the ledger says when it is sent, so repeats and late sends converge on the truth.
    """

    def __init__(
        self,
        stores: tuple[RuleLedger, RuleOutbox],
        dispatch: RuleDispatch,
        watch: RuleWatch,
        health: Health,
        clock: Clock,
        retry_s: float,
        is_leader: Callable[[], bool] = lambda: True,
    ) -> None:
        self.name = "dispatch"
        self._ledger, self._outbox = stores
        self._dispatch, self._watch, self._health = dispatch, watch, health
        self._clock, self._retry_s, self._is_leader = clock, retry_s, is_leader
        self._lock = asyncio.Lock()

    async def start(self, tasks: asyncio.TaskGroup) -> None:
        """Send what an earlier life left, in the background."""
        tasks.create_task(self._flush_forever())

    async def stop(self, deadline: Deadline) -> None:
        """Nothing: what is unsent stays in the ledger."""

    async def flush(self) -> None:
        """Send every unsent key; for the leader only: two senders could overtake each other.

        Raises: Unavailable when the topic does not take one.
        """
        async with self._lock:
            for ticket, key in await self._outbox.unsent():
                await self._dispatch.send(key, await self._ledger.published(key))
                await self._outbox.mark_sent(ticket, key)
        await self._watch.refresh()

    async def flush_within(self, key: str, limit_s: float = DISPATCH_S) -> None:
        """Return when `key` is sent, by this process or by the one that leads.

        Raises: Unavailable when that takes longer than `limit_s`; the rule is safe in the ledger.
        """
        try:
            async with asyncio.timeout(limit_s):
                while not self._is_leader() and key in {unsent for _, unsent in await self._outbox.unsent()}:
                    await asyncio.sleep(STANDBY_POLL_S)
                if self._is_leader():
                    await self.flush()
        except (TimeoutError, Unavailable) as error:
            raise Unavailable(
                "the change is in the ledger, but the rules topic does not take it now; it is sent when it does",
                reason="dispatch_pending",
                retry_after_s=self._retry_s,
            ) from error

    async def _flush_forever(self) -> None:
        while True:
            try:
                await (self.flush() if self._is_leader() else self._watch.refresh())
                self._health.set(self.name, True)
            except (Unavailable, Conflict) as error:
                # Reads, drafts and leases go on: this is told, but the service stays ready.
                self._health.set(self.name, True, f"rules wait for the topic: {error}")
            await self._clock.sleep(self._retry_s)
