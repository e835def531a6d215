"""Which leases to ask for now, and what to do with the answers: no I/O, so that a simulation can drive it too."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from chassis.protection.lease import Grant, LeasedGcra

RENEWALS_PER_LEASE = 3  # two may be lost before the lease is
HURRIED_PER_LEASE = 10  # while requests are refused
RETRY_S = 1.0  # after a failure, and the first time
MAX_LEASES = 1000  # one call each every third of a lease; budgets beyond use their safe share
SAME_RATE = 0.01  # a share that fell by less need not be confirmed early
NEWEST = 0.3  # weight of the newest round in the demand, unless it rose
ROSE = 1.5  # of the demand so far: counts at once
HEADROOM = 1.02  # a share just below the demand refuses


@dataclass(frozen=True, slots=True)
class LeasedBudget:
    """A budget under a global rule; `budget` is the concrete key that is charged."""

    key: str
    budget: str
    gcra: LeasedGcra


@dataclass(frozen=True, slots=True)
class Ask:
    """One call to make now: renew `lease_id`, or acquire when it is empty."""

    of: LeasedBudget
    lease_id: str
    demand_per_s: float
    held_per_s: float
    sent_s: float


@dataclass(slots=True)
class _Entry:
    asked_at_s: float
    next_s: float
    hurried_s: float
    demand_per_s: float = 0.0
    lease_id: str = ""
    is_open: bool = False


class LeaseDesk:
    """Keeps the leases of all `budgets()`; a leader older than one already heard of is refused for all of them."""

    def __init__(self, budgets: Callable[[], Iterable[LeasedBudget]]) -> None:
        self.epoch = 0
        self.num_older_epochs = 0
        self._budgets = budgets
        self._entries: dict[tuple[str, str], _Entry] = {}

    def due(self, now_s: float) -> list[Ask]:
        """What to ask now; each must be answered with `granted` or `failed` before it is asked again."""
        asks = []
        wanted = {(each.key, each.budget): each for each in self._budgets()}
        for name, budget in list(wanted.items())[:MAX_LEASES]:
            entry = self._entries.get(name)
            if entry is None:
                entry = self._entries[name] = _Entry(now_s - RETRY_S, now_s, now_s)
            is_due = now_s >= entry.next_s or (budget.gcra.refused > 0.0 and now_s >= entry.hurried_s)
            if is_due and not entry.is_open:
                asks.append(self._ask(budget, entry, now_s))
        return asks

    def abandoned(self) -> list[str]:
        """Ids of leases whose budgets are gone (rule revoked, tenant forgotten); to be released."""
        wanted = {(each.key, each.budget) for each in self._budgets()}
        gone = [name for name, entry in self._entries.items() if name not in wanted and not entry.is_open]
        return [entry.lease_id for entry in map(self._entries.pop, gone) if entry.lease_id]

    def granted(self, ask: Ask, grant: Grant, now_s: float) -> bool:
        """Put `grant` in force; False when it is over, empty or of an older leader."""
        entry = self._close(ask, now_s)
        if grant.epoch < self.epoch:
            self.num_older_epochs += 1
            return False
        self.epoch = grant.epoch
        if not ask.of.gcra.accept(grant, ask.sent_s, now_s):
            return False
        if entry is not None:
            entry.lease_id = grant.lease_id
            entry.hurried_s = ask.sent_s + grant.duration_s / HURRIED_PER_LEASE
            # A smaller share is confirmed soon: only then can others have what is left.
            is_smaller = grant.rate_per_s < ask.held_per_s * (1 - SAME_RATE)
            entry.next_s = entry.hurried_s if is_smaller else ask.sent_s + grant.duration_s / RENEWALS_PER_LEASE
        return True

    def failed(self, ask: Ask, now_s: float, *, is_lost: bool = False) -> None:
        """No answer, or a refusal; with `is_lost` the lease no longer exists."""
        entry = self._close(ask, now_s)
        if entry is not None and is_lost:
            entry.lease_id = ""

    def num_stale(self, now_s: float) -> int:
        """Budgets without a lease in force."""
        return sum(each.gcra.is_stale(now_s) for each in self._budgets())

    def held(self) -> list[str]:
        """Ids of every lease not known to be lost."""
        return [entry.lease_id for entry in self._entries.values() if entry.lease_id]

    def _ask(self, budget: LeasedBudget, entry: _Entry, now_s: float) -> Ask:
        elapsed_s = max(now_s - entry.asked_at_s, 1e-3)
        newest = budget.gcra.drain() / elapsed_s
        if newest > entry.demand_per_s * ROSE + 2.0 / elapsed_s:  # two units more may be chance
            entry.demand_per_s = newest
        else:
            entry.demand_per_s += NEWEST * (newest - entry.demand_per_s)
        entry.asked_at_s, entry.is_open = now_s, True
        lease_id = "" if budget.gcra.is_stale(now_s) else entry.lease_id
        return Ask(budget, lease_id, entry.demand_per_s * HEADROOM, budget.gcra.rate_per_s, now_s)

    def _close(self, ask: Ask, now_s: float) -> _Entry | None:
        entry = self._entries.get((ask.of.key, ask.of.budget))
        if entry is not None:
            entry.is_open = False
            entry.next_s = entry.hurried_s = now_s + RETRY_S
        return entry
