"""What the quota service needs from the world."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from chassis.protection.rule import Rule
from chassis.protection.usage import UsageWindow
from services.quota.domain.capacity import CapacityQuota
from services.quota.domain.cluster import Held
from services.quota.domain.leadership import LeaderRow
from services.quota.domain.rule_version import AuditRecord, RuleVersion
from services.quota.domain.validation import Violation


class RuleLedger(Protocol):
    """The truth about rules. Each write is durable and whole when it returns."""

    async def read(self, key: str, version: int = 0) -> RuleVersion | None:
        """One version of `key`; 0 = the newest; None when there is none."""
        ...

    async def published(self, key: str) -> RuleVersion | None:
        """The version of `key` in force."""
        ...

    async def list_rules(self, key_prefix: str, *, is_published_only: bool) -> Sequence[RuleVersion]:
        """The newest (or the published) version of each key that begins with `key_prefix`, by key."""
        ...

    async def history(self, key: str) -> Sequence[AuditRecord]:
        """Every step of every version of `key`, oldest first."""
        ...

    async def write(
        self,
        records: Sequence[AuditRecord],
        *,
        is_dispatched: bool = False,
        beside: Sequence[RuleVersion] | None = None,
    ) -> None:
        """Store each `after` and its record, all or nothing; with `is_dispatched` the keys wait for the topic.

        A record whose `before` is None adds a version that must be the next of its key. `beside` is what was published
        when the records were decided upon.
        Raises: Conflict naming the current version when `before` is no longer what is stored, or when something else is
        published than `beside`.
        """
        ...


class RuleCheck(Protocol):
    """One opinion about whether a rule is right, beside the rules in force. It changes nothing."""

    @property
    def name(self) -> str:
        """For people and metrics."""
        ...

    async def check(self, rule: Rule, published: Sequence[Rule]) -> Sequence[Violation]:
        """Every violation; `rule` has sound numbers, and `published` no rule of its key. Raises: Unavailable."""
        ...


class RuleOutbox(Protocol):
    """Which keys the topic has not seen as they are."""

    async def unsent(self) -> Sequence[tuple[int, str]]:
        """(ticket, key), oldest first."""
        ...

    async def mark_sent(self, ticket: int, key: str) -> None:
        """The topic has `key` as it was when `ticket` was read; a newer ticket stays."""
        ...


class RuleDispatch(Protocol):
    """Puts rules into force everywhere."""

    async def send(self, key: str, published: RuleVersion | None) -> None:
        """Announce the version in force, or that there is none. Raises: Unavailable."""
        ...


class UsageLedger(Protocol):
    """What was used, per key, service, zone and minute."""

    async def add_usage(self, windows: Sequence[UsageWindow]) -> None:
        """Add each window once: the same window again changes nothing."""
        ...

    async def query_usage(self, key_prefix: str, from_ms: int, to_ms: int) -> Sequence[UsageWindow]:
        """Minutes that overlap [from_ms, to_ms), summed over instances, by key and time."""
        ...

    async def oldest_ms(self) -> int | None:
        """The first minute that is kept, epoch milliseconds; None when there is none."""
        ...

    async def prune_usage(self, before_ms: int, max_rows: int) -> int:
        """Forget minutes before `before_ms` and the oldest beyond `max_rows`; how many rows went."""
        ...


class UsageHistory(Protocol):
    """What was used long ago, or before the ledger was lost."""

    async def query_usage(self, key_prefix: str, from_ms: int, to_ms: int) -> Sequence[UsageWindow]:
        """As UsageLedger's. Raises: Unavailable when it cannot be reached, Invalid when it is too much."""
        ...


class CapacityCluster(Protocol):
    """Where capacity is put into force. Calls block for some seconds at most: the app makes them in a thread.

    Every method raises Unavailable when it cannot be reached or refuses.
    """

    @property
    def target(self) -> str:
        """What it is, for people: cluster or manifests."""
        ...

    def held(self) -> Sequence[Held]:
        """Every quota of ours that is there, whoever changed it since."""
        ...

    def apply(self, quota: CapacityQuota, *, is_dry_run: bool) -> None:
        """Make it hold `quota`, and nothing else under its name; or only ask whether it would."""
        ...

    def remove(self, held: Held) -> None:
        """Take a quota away; one that is gone is no error."""
        ...

    def allocatable(self) -> Mapping[str, Mapping[str, float]]:
        """What the nodes of each zone can give, by Kubernetes' name of the resource; empty = nothing is known."""
        ...


class LeaderLedger(Protocol):
    """Who may grant leases; one holder at a time. It compares no clocks."""

    async def claim(self, holder: str, dead: LeaderRow | None) -> LeaderRow:
        """Beat as the holder, or become it, in a new and higher epoch, when there is none or the row is still `dead`;
        returns the row as it is then.
        """
        ...

    async def resign(self, holder: str) -> None:
        """End the leadership of `holder` now."""
        ...

    async def cover_leases(self, epoch: int, duration_ms: int) -> bool:
        """Leases of up to `duration_ms` are granted from now on; False when `epoch` is over."""
        ...
