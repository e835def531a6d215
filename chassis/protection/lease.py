"""A budget that is a share of one limit of all processes, and what becomes of it when no lease can be had."""

from dataclasses import dataclass
from typing import Protocol

from chassis.gcra import Gcra
from chassis.protection.rule import Rule

FOREVER_S = float("inf")
LEAST_BURST = 2.0  # units; with one, every request that does not come exactly in time wastes a part of the rate
MARGIN_S = 2.0  # above the time from asking for a lease to the grant, and between two tries to get one back


@dataclass(frozen=True, slots=True)
class Grant:
    """A share of a rule: `rate_per_s` and `burst` units, for `duration_s` from when it was asked for."""

    lease_id: str
    rate_per_s: float
    burst: float
    duration_s: float
    epoch: int  # of the leader that granted it


class LeaseSource(Protocol):
    """Where leases come from, for one client. Every call: Unavailable when it cannot be reached or may not grant."""

    async def acquire(self, key: str, budget: str, demand_per_s: float) -> Grant:
        """A share of rule `key` for the concrete key `budget`. Raises: NotFound without such a rule, Invalid."""
        ...

    async def renew(self, lease_id: str, demand_per_s: float, held_per_s: float) -> Grant:
        """The same lease, with a new share and life; `held_per_s` is the rate in use until the answer comes.

        Raises: NotFound when it is over, PermissionDenied when another client holds it.
        """
        ...

    async def release(self, lease_id: str) -> None:
        """Give the share back."""
        ...


class LeasedGcra(Gcra):
    """Charged at the rate of its lease while that lasts. Without one it is stale and takes the rule's safe share: at
    once when that is less, and one lease time later when it is more, because only then has every other holder learnt
    that this process needs it. So what all processes may use never sums up to more than the limit.
    """

    __slots__ = ("_burst", "_ends_s", "_limit_per_s", "_safe_share", "_until_s", "asked", "grant", "refused")

    def __init__(self, rule: Rule, now_s: float) -> None:
        self.asked = 0.0  # units, admitted or not, since the last `drain`
        self.refused = 0.0
        self.grant: Grant | None = None
        self._ends_s = self._until_s = FOREVER_S
        super().__init__(rule.rate_per_s * rule.safe_share, rule.burst * rule.safe_share)
        self.set_rule(rule, now_s)

    def set_rule(self, rule: Rule, now_s: float) -> None:
        """Take another version of the rule; a lease in force stays, as far as the new limit allows."""
        self._limit_per_s, self._burst, self._safe_share = rule.rate_per_s, rule.burst, rule.safe_share
        self._choose_rate(now_s)

    def take(self, now_s: float, cost: float) -> float:
        """As of any budget; an expired lease is noticed here, however long the process was paused."""
        self.asked += cost
        if now_s >= self._until_s:
            self._choose_rate(now_s)
        wait_s = Gcra.take(self, now_s, cost)
        if wait_s > 0.0:
            self.refused += cost
        return wait_s

    def accept(self, grant: Grant, sent_s: float, now_s: float) -> bool:
        """Use `grant`, which was asked for at `sent_s`; False when it is over already or of an older leader."""
        held = self.grant
        if now_s >= sent_s + grant.duration_s or grant.rate_per_s <= 0.0:
            return False
        if held is not None and grant.epoch < held.epoch:
            return False
        self.grant, self._ends_s = grant, sent_s + grant.duration_s
        self._choose_rate(now_s)
        return True

    def is_stale(self, now_s: float) -> bool:
        """Whether there is no lease in force."""
        return self.grant is None or now_s >= self._ends_s

    @property
    def rate_per_s(self) -> float:
        """The rate in use as of the last decision or change."""
        return 1.0 / self.interval_s

    def drain(self) -> float:
        """Units asked for since the last call."""
        asked, self.asked, self.refused = self.asked, 0.0, 0.0
        return asked

    def _choose_rate(self, now_s: float) -> None:
        safe_per_s = self._limit_per_s * self._safe_share
        grant = self.grant
        if grant is None:
            rate_per_s, self._until_s = safe_per_s, FOREVER_S
        elif now_s < self._ends_s:
            rate_per_s, self._until_s = min(grant.rate_per_s, self._limit_per_s), self._ends_s
        elif now_s < self._ends_s + grant.duration_s + MARGIN_S:
            rate_per_s = min(grant.rate_per_s, safe_per_s)
            self._until_s = self._ends_s + grant.duration_s + MARGIN_S
        else:
            rate_per_s, self._until_s = safe_per_s, FOREVER_S
        burst = burst_of_share(self._burst, rate_per_s / self._limit_per_s)
        if grant is not None and now_s < self._ends_s:
            burst = min(grant.burst, self._burst)
        self.configure(rate_per_s, burst, now_s)


def burst_of_share(burst: float, share: float) -> float:
    """What a process with `share` of a limit may use at once, of a rule's `burst`; at most all of it."""
    return max(burst * share, min(burst, LEAST_BURST))
