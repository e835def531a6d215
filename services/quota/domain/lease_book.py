"""The leases of one leader: shares of global limits that together never pass them."""

# What all processes may use at a moment is: the leases in force, what holders still go by that did not get their last
# answer, and the safe shares of processes that cannot reach this leader. The book keeps that sum within the limit.

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from chassis.errors import Invalid, NotFound, Overloaded, PermissionDenied
from chassis.protection.lease import burst_of_share
from chassis.protection.rule import Rule, matches
from services.quota.domain.divider import Claim, divide

MAX_CLIENTS_PER_BUDGET = 10_000  # one process each; more is a leak of client ids
MAX_LEASES = 200_000  # about 200 MB
MAX_WEIGHT = 100.0  # a client names its own: the others must not starve
MIN_DEMAND = 0.02  # of the fair share: an idle holder keeps that much, so that its next requests are not refused


@dataclass(frozen=True)
class Lease:
    """A share of a rule: `rate` units per second and `burst` units until `expires_ms` of the book's clock.

    The holder may still go by `held_rate` until `held_until_ms`, when it did not get the answer that changed it.
    """

    lease_id: str
    key: str
    budget: str
    client_id: str
    claim: Claim
    rate: float
    burst: float
    expires_ms: int
    epoch: int
    held_rate: float = 0.0
    held_until_ms: int = 0

    def in_use(self, now_ms: int) -> float:
        """The most its holder may go by now, units per second."""
        return max(self.rate, self.held_rate) if now_ms < self.held_until_ms else self.rate


@dataclass
class _Budget:
    held: dict[str, Lease] = field(default_factory=dict)  # by client
    lost_ms: dict[str, int] = field(default_factory=dict)  # client -> when its lease ran out


class LeaseBook:
    """Grants, renews and takes back. Every call gets the time in milliseconds of a monotonic clock; nothing waits.

    `safe_share` of a rule tells how many processes there are at most: 1 / safe_share. For `absent_ms` after the begin
    of an epoch, and after a lease ran out, the safe share of a process that did not come is held back for it.
    """

    def __init__(self, duration_ms: int, new_id: Callable[[], str], absent_ms: int = 600_000) -> None:
        self.epoch = 0
        self._duration_ms, self._new_id, self._absent_ms = duration_ms, new_id, absent_ms
        self._settled_ms = 0
        self._budgets: dict[tuple[str, str], _Budget] = {}
        self._by_id: dict[str, Lease] = {}
        self._seen_ms: dict[str, int] = {}  # client -> its last call about any budget

    def acquire(self, rule: Rule, client_id: str, claim: Claim, now_ms: int, budget: str = "") -> Lease:
        """A lease for `client_id`, which has none or does not know it; the one it holds already when there is one.

        Raises: Invalid for a bad demand, weight, client or budget, Overloaded with too many clients or leases.
        """
        _check(client_id, claim)
        budget = budget or rule.key
        if not matches(rule.levels, tuple(budget.split("/"))) or len(budget.split("/")) != len(rule.levels):
            raise Invalid(f"budget {budget[:64]!r} is none of rule {rule.key!r}", field="budget")
        page = self._page(rule.key, budget, now_ms)
        lease = page.held.get(client_id)
        if lease is None:
            self._check_room(page, rule)
            lease = Lease(self._new_id(), rule.key, budget, client_id, claim, 0.0, 0.0, 0, self.epoch)
        # Who acquires goes by its safe share until the answer comes.
        safe = rule.rate_per_s * rule.safe_share
        return self._grant(rule, replace(lease, claim=claim, held_rate=safe), page, now_ms)

    def renew(
        self, rule: Rule, lease_id: str, client_id: str, demand: float, now_ms: int, held_rate: float = math.inf
    ) -> Lease:
        """The lease with a new share and a new expiry; `held_rate` is what the holder goes by now.

        Raises: NotFound when it has expired, PermissionDenied when another client holds it, Invalid for a bad demand
        or rate. A holder that says it holds more than it may is taken to hold what it may.
        """
        lease = self.find(lease_id, client_id, now_ms)
        claim = replace(lease.claim, demand=demand)
        _check(client_id, claim)
        if not held_rate >= 0.0:
            raise Invalid(f"held rate {held_rate!r} must not be negative", field="held_rate")
        held = min(held_rate, lease.in_use(now_ms))
        page = self._page(lease.key, lease.budget, now_ms)
        return self._grant(rule, replace(lease, claim=claim, held_rate=held), page, now_ms)

    def release(self, lease_id: str, client_id: str, now_ms: int) -> bool:
        """Give the share back; False when it had expired. Raises: PermissionDenied for another client's lease."""
        try:
            lease = self.find(lease_id, client_id, now_ms)
        except NotFound:
            return False
        self._drop(lease)
        return True

    def find(self, lease_id: str, client_id: str, now_ms: int) -> Lease:
        """Raises: NotFound when there is no such unexpired lease, PermissionDenied when another client holds it."""
        lease = self._by_id.get(lease_id)
        if lease is not None and lease.expires_ms <= now_ms:
            self._lose(lease)
            lease = None
        if lease is None:
            raise NotFound(f"no lease {lease_id[:64]!r}: it expired or was never granted", field="lease_id")
        if lease.client_id != client_id:
            raise PermissionDenied(f"the lease is not held by client {client_id[:64]!r}", field="client_id")
        return lease

    def start_epoch(self, epoch: int, now_ms: int) -> None:
        """Begin as a new leader, with no lease: the caller has waited until the older ones are over."""
        self.epoch, self._settled_ms = epoch, now_ms + self._absent_ms
        self._budgets.clear()
        self._by_id.clear()
        self._seen_ms.clear()

    def forget_key(self, key: str) -> None:
        """Drop every lease of a rule that is no longer published."""
        for name in [name for name in self._budgets if name[0] == key]:
            for lease in self._budgets.pop(name).held.values():
                self._by_id.pop(lease.lease_id, None)

    def outstanding(self, key: str, now_ms: int, budget: str = "") -> float:
        """Units per second that unexpired leases allow."""
        page = self._budgets.get((key, budget or key), _Budget())
        return sum(lease.in_use(now_ms) for lease in page.held.values() if lease.expires_ms > now_ms)

    def _grant(self, rule: Rule, lease: Lease, page: _Budget, now_ms: int) -> Lease:
        self._saw(lease.client_id, now_ms)
        page.lost_ms.pop(lease.client_id, None)
        others = [other for client, other in page.held.items() if client != lease.client_id]
        limit, safe = rule.rate_per_s, rule.rate_per_s * rule.safe_share
        pool = limit - safe * self._num_absent(rule, page, lease.client_id, now_ms)
        claims = {other.client_id: other.claim for other in others} | {lease.client_id: lease.claim}
        share = divide(pool, _bounded(claims, pool))[lease.client_id]
        free = pool - sum(other.in_use(now_ms) for other in others)
        # Below the safe share nobody waits for others to give back: without a lease it would use as much.
        rate = max(min(share, free), min(share, safe))
        granted = replace(
            lease,
            rate=rate,
            burst=burst_of_share(rule.burst, rate / limit),
            expires_ms=now_ms + self._duration_ms,
            epoch=self.epoch,
            held_until_ms=now_ms + self._duration_ms,
        )
        page.held[lease.client_id] = self._by_id[lease.lease_id] = granted
        return granted

    def _num_absent(self, rule: Rule, page: _Budget, client_id: str, now_ms: int) -> int:
        """Processes that may go by their safe share, unheard: held back for them."""
        num_most = int(1.0 / rule.safe_share + 1e-9)
        num_spare = max(0, num_most - len(page.held.keys() | {client_id}))
        if now_ms < self._settled_ms:
            num_present = len(self._seen_ms.keys() | {client_id})
            return min(num_spare, max(0, num_most - num_present))
        return min(num_spare, sum(client not in self._seen_ms for client in page.lost_ms))

    def _saw(self, client_id: str, now_ms: int) -> None:
        """Keep those in order of their last call, and forget who did not call for a lease's time."""
        self._seen_ms.pop(client_id, None)
        self._seen_ms[client_id] = now_ms
        for client in _until(self._seen_ms, now_ms - self._duration_ms):
            del self._seen_ms[client]

    def _page(self, key: str, budget: str, now_ms: int) -> _Budget:
        page = self._budgets.setdefault((key, budget), _Budget())
        for lease in [lease for lease in page.held.values() if lease.expires_ms <= now_ms]:
            self._lose(lease)
        for client in _until(page.lost_ms, now_ms - self._absent_ms):
            del page.lost_ms[client]
        return page

    def _check_room(self, page: _Budget, rule: Rule) -> None:
        if len(page.held) >= MAX_CLIENTS_PER_BUDGET or len(self._by_id) >= MAX_LEASES:
            raise Overloaded(
                f"rule {rule.key!r} has {len(page.held)} lease holders, all rules {len(self._by_id)}",
                field="key",
                reason="too_many_leases",
                retry_after_s=self._duration_ms / 1000,
            )

    def _lose(self, lease: Lease) -> None:
        self._drop(lease)
        page = self._budgets.setdefault((lease.key, lease.budget), _Budget())
        page.lost_ms[lease.client_id] = lease.expires_ms

    def _drop(self, lease: Lease) -> None:
        self._by_id.pop(lease.lease_id, None)
        page = self._budgets.get((lease.key, lease.budget))
        if page is not None:
            page.held.pop(lease.client_id, None)
            if not page.held and not page.lost_ms:
                del self._budgets[lease.key, lease.budget]


def _until(times_ms: dict[str, int], last_ms: int) -> list[str]:
    return [client for client, time_ms in times_ms.items() if time_ms <= last_ms]


def _bounded(claims: dict[str, Claim], pool: float) -> dict[str, Claim]:
    """No demand above the whole, none so small that its holder could use nothing."""
    total_weight = sum(claim.weight for claim in claims.values())
    return {
        client: Claim(min(max(claim.demand, MIN_DEMAND * pool * claim.weight / total_weight), pool), claim.weight)
        for client, claim in claims.items()
    }


def _check(client_id: str, claim: Claim) -> None:
    if not client_id:
        raise Invalid("the client is missing", field="client_id")
    if not (math.isfinite(claim.demand) and claim.demand >= 0):
        raise Invalid(f"demand {claim.demand!r} must be finite and not negative", field="demand")
    if not 0 < claim.weight <= MAX_WEIGHT:
        raise Invalid(f"weight {claim.weight!r} must be in (0, {MAX_WEIGHT:g}]", field="weight")
