"""The leases of one leader: shares of global limits that together never pass them."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from chassis.errors import Invalid, NotFound, Overloaded, PermissionDenied
from chassis.protection.rule import Rule
from services.quota.domain.divider import Claim, divide

MAX_CLIENTS_PER_KEY = 10_000  # one process each; more is a leak of client ids
MAX_WEIGHT = 1e6


@dataclass(frozen=True)
class Lease:
    """A share of a rule: `rate` units per second and `burst` units until `expires_time_ms`."""

    lease_id: str
    key: str
    client_id: str
    claim: Claim
    rate: float
    burst: float
    expires_time_ms: int
    epoch: int


class LeaseBook:
    """Grants, renews and takes back. Every call gets the time; nothing here waits or writes.

    A new client first gets what the others leave free. The others learn their smaller share when they renew, so a
    fair division is reached within one lease; the sum of unexpired rates is never above the limit in force at the
    time of each grant.
    """

    def __init__(self, duration_ms: int, new_id: Callable[[], str]) -> None:
        self.epoch = 0
        self._duration_ms, self._new_id = duration_ms, new_id
        self._by_key: dict[str, dict[str, Lease]] = {}  # key -> client -> lease
        self._by_id: dict[str, Lease] = {}

    def acquire(self, rule: Rule, client_id: str, claim: Claim, now_ms: int) -> Lease:
        """A lease for `client_id`; the one it holds already, renewed, when there is one.

        Raises: Invalid for a bad demand, weight or client, Overloaded with too many clients of a key.
        """
        _check(client_id, claim)
        self._expire(rule.key, now_ms)
        held = self._by_key.get(rule.key, {})
        if client_id in held:
            return self._grant(rule, replace(held[client_id], claim=claim), now_ms)
        if len(held) >= MAX_CLIENTS_PER_KEY:
            raise Overloaded(
                f"rule {rule.key!r} has {len(held)} lease holders already",
                field="key",
                reason="too_many_leases",
                retry_after_s=self._duration_ms / 1000,
            )
        return self._grant(rule, Lease(self._new_id(), rule.key, client_id, claim, 0.0, 0.0, 0, self.epoch), now_ms)

    def renew(self, rule: Rule, lease_id: str, client_id: str, demand: float, now_ms: int) -> Lease:
        """The lease with a new share and a new expiry.

        Raises: NotFound when it has expired, PermissionDenied when another client holds it, Invalid for a bad demand.
        """
        lease = self.find(lease_id, client_id, now_ms)
        claim = replace(lease.claim, demand=demand)
        _check(client_id, claim)
        return self._grant(rule, replace(lease, claim=claim), now_ms)

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
        if lease is not None and lease.expires_time_ms <= now_ms:
            self._drop(lease)
            lease = None
        if lease is None:
            raise NotFound(f"no lease {lease_id[:64]!r}: it expired or was never granted", field="lease_id")
        if lease.client_id != client_id:
            raise PermissionDenied(f"the lease is not held by client {client_id[:64]!r}", field="client_id")
        return lease

    def start_epoch(self, epoch: int) -> None:
        """Begin as a new leader, with no lease: the caller has waited until the older ones are over."""
        self.epoch = epoch
        self._by_key.clear()
        self._by_id.clear()

    def forget_key(self, key: str) -> None:
        """Drop every lease of a rule that is no longer published."""
        for lease in list(self._by_key.get(key, {}).values()):
            self._drop(lease)

    def outstanding(self, key: str, now_ms: int) -> float:
        """Units per second granted and not expired."""
        return sum(lease.rate for lease in self._by_key.get(key, {}).values() if lease.expires_time_ms > now_ms)

    def _grant(self, rule: Rule, lease: Lease, now_ms: int) -> Lease:
        self._expire(rule.key, now_ms)
        others = {c: other for c, other in self._by_key.get(rule.key, {}).items() if c != lease.client_id}
        claims = {c: other.claim for c, other in others.items()} | {lease.client_id: lease.claim}
        limit = rule.rate_per_s
        free = max(0.0, limit - sum(other.rate for other in others.values()))
        rate = min(divide(limit, _capped(claims, limit))[lease.client_id], free)
        burst = rule.burst * rate / limit
        granted = replace(lease, rate=rate, burst=burst, expires_time_ms=now_ms + self._duration_ms, epoch=self.epoch)
        self._by_key.setdefault(rule.key, {})[lease.client_id] = granted
        self._by_id[lease.lease_id] = granted
        return granted

    def _expire(self, key: str, now_ms: int) -> None:
        for lease in list(self._by_key.get(key, {}).values()):
            if lease.expires_time_ms <= now_ms:
                self._drop(lease)

    def _drop(self, lease: Lease) -> None:
        self._by_id.pop(lease.lease_id, None)
        held = self._by_key.get(lease.key, {})
        held.pop(lease.client_id, None)
        if not held:
            self._by_key.pop(lease.key, None)


def _capped(claims: dict[str, Claim], limit: float) -> dict[str, Claim]:
    return {client: Claim(min(claim.demand, limit), claim.weight) for client, claim in claims.items()}


def _check(client_id: str, claim: Claim) -> None:
    if not client_id:
        raise Invalid("the client is missing", field="client_id")
    if not (math.isfinite(claim.demand) and claim.demand >= 0):
        raise Invalid(f"demand {claim.demand!r} must be finite and not negative", field="demand")
    if not 0 < claim.weight <= MAX_WEIGHT:
        raise Invalid(f"weight {claim.weight!r} must be in (0, {MAX_WEIGHT:g}]", field="weight")
