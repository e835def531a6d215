"""Brings what the ledger says is published to every process and to everyone who watches."""

import asyncio
from collections.abc import Callable

from chassis.clock import Clock
from chassis.deadline import Deadline
from chassis.errors import Unavailable
from chassis.health import Health
from services.quota.app.rule_watch import RuleWatch
from services.quota.domain.rule_version import RuleVersion
from services.quota.ports import RuleDispatch, RuleLedger, RuleOutbox

DISPATCH_S = 3.0  # how long a publisher waits for the topic; under the limit of its call


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
        """Send every unsent key. Raises: Unavailable when the topic does not take one, or another process leads and
        will send it: two senders could overtake each other.
        """
        if not self._is_leader():
            raise Unavailable("another process leads and sends the rules", reason="not_leader")
        async with self._lock:
            for ticket, key in await self._outbox.unsent():
                published = await self._ledger.published(key)
                await self._dispatch.send(key, published)
                await self._outbox.mark_sent(ticket, key)
                self._watch.tell(published or await self._last(key))

    async def flush_within(self, limit_s: float = DISPATCH_S) -> None:
        """`flush`, for a caller that waits. Raises: Unavailable, with the rule safe in the ledger."""
        try:
            async with asyncio.timeout(limit_s):
                await self.flush()
        except (TimeoutError, Unavailable) as error:
            raise Unavailable(
                "the change is in the ledger, but the rules topic does not take it now; it is sent when it does",
                reason="dispatch_pending",
                retry_after_s=self._retry_s,
            ) from error

    async def _last(self, key: str) -> RuleVersion:
        newest = await self._ledger.read(key)
        if newest is None:
            raise Unavailable(f"rule {key!r} is in the outbox but not in the ledger")
        return newest

    async def _flush_forever(self) -> None:
        while True:
            if self._is_leader():
                try:
                    await self.flush()
                    self._health.set(self.name, True)
                except Unavailable as error:
                    # Reads, drafts and leases go on: this is told, but the service stays ready.
                    self._health.set(self.name, True, f"rules wait for the topic: {error}")
            await self._clock.sleep(self._retry_s)
