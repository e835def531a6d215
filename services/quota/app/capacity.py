"""Brings capacity rules into force in a cluster, and tells what the cluster makes of them."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from chassis.clock import Clock
from chassis.deadline import Deadline
from chassis.errors import CorkboardError, PermissionDenied, Unavailable
from chassis.health import Health
from chassis.logs import get_logger
from chassis.metrics import Metrics
from chassis.protection.rule import CAPACITY, Rule
from services.quota.domain.capacity import (
    CONTAINER,
    HARD,
    CapacityKey,
    CapacityQuota,
    check_capacity,
    parse_key,
    quotas_of,
)
from services.quota.domain.cluster import Held, allocatable_of, differences, total
from services.quota.domain.validation import Violation
from services.quota.ports import CapacityCluster, RuleLedger

log = get_logger(__name__)


@dataclass(frozen=True)
class Line:
    """One capacity rule of a team; `found` and `used` as the cluster says, None = it does not."""

    rule: Rule
    key: CapacityKey
    namespace: str
    resource: str
    found: float | None
    used: float | None
    is_drifted: bool


@dataclass(frozen=True)
class Report:
    """`free` is what nodes can give less all limits, by "<zone>/<resource>"."""

    target: str
    lines: Sequence[Line]
    orphans: Sequence[str] = ()
    free: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class _Plan:
    """What to do so that the cluster follows the ledger; drift is what somebody else did, and only told."""

    changed: Sequence[CapacityQuota]
    revoked: Sequence[Held]
    drifted: Sequence[CapacityQuota]
    orphans: Sequence[Held]


class CapacityDispatcher:
    """A quota is applied when its rules changed, each time as a dry run first; drift is reported, and removed when an
    admin says so. Objects are taken away only when the ledger knows that their rules were revoked: an empty ledger
    empties no cluster.
    """

    def __init__(
        self,
        rules: RuleLedger,
        cluster: CapacityCluster | None,
        namespace: str,
        clock: Clock,
        every_s: float,
        *,
        health: Health,
        metrics: Metrics,
        is_leader: Callable[[], bool],
        is_admin: Callable[[str], bool],
    ) -> None:
        self.name = "capacity"
        self._rules, self._cluster, self._namespace = rules, cluster, namespace
        self._clock, self._every_s = clock, every_s
        self._health, self._is_leader, self._is_admin = health, is_leader, is_admin
        self._lock = asyncio.Lock()
        self._drifted = metrics.gauge("quota_capacity_drifted", "Capacity quotas that the cluster has otherwise.")
        self._failures = metrics.counter("quota_capacity_failures_total", "Rounds in which the cluster failed.")

    async def start(self, tasks: asyncio.TaskGroup) -> None:
        """Begin the rounds, when there is anywhere to apply to."""
        if self._cluster is not None:
            tasks.create_task(self._dispatch_forever())

    async def stop(self, deadline: Deadline) -> None:
        """Nothing: a round that is cut is made again."""

    async def dispatch(self) -> None:
        """One round: what changed in the ledger goes to the cluster. Raises: Unavailable, Invalid."""
        cluster = self._cluster
        if cluster is None:
            return
        async with self._lock:
            plan = await self._plan(cluster)
            self._drifted.set(len(plan.drifted))
            failures = [await self._apply_one(cluster, quota) for quota in plan.changed]
            for held in plan.revoked:
                await asyncio.to_thread(cluster.remove, held)
                log.info("capacity taken out of force", namespace=held.namespace, object=held.name)
        if told := [failure for failure in failures if failure]:
            raise Unavailable(f"{len(told)} of {len(failures)} quotas: {told[0]}", reason="cluster")

    async def apply_all(self, actor: str, *, is_dry_run: bool) -> None:
        """Make every quota as its rules say, drift or not.

        Raises: PermissionDenied when `actor` is no admin, Unavailable, Invalid.
        """
        if not self._is_admin(actor):
            raise PermissionDenied(f"{actor!r} is no admin: drift may be somebody's emergency", field="actor")
        if self._cluster is None:
            raise Unavailable("neither a cluster nor a folder of manifests is configured", reason="no_target")
        async with self._lock:
            await self._apply(self._cluster, await self._quotas(), is_dry_run=is_dry_run)

    async def report(self, team: str = "", zone: str = "") -> Report:
        """Limits, what the cluster has and uses of them, and what is left. Raises: Unavailable."""
        rules = await self._capacity_rules()
        cluster = self._cluster
        if cluster is None:
            return Report("none", self._lines(rules, {}, team, zone))
        held = {(each.namespace, each.name): each for each in await asyncio.to_thread(cluster.held)}
        zones = await asyncio.to_thread(cluster.allocatable)
        plan = await self._plan_of(list(held.values()))
        orphans = [f"{each.namespace}/{each.name}" for each in plan.orphans]
        return Report(cluster.target, self._lines(rules, held, team, zone), orphans, _free(rules, zones))

    async def _plan(self, cluster: CapacityCluster) -> _Plan:
        return await self._plan_of(await asyncio.to_thread(cluster.held))

    async def _plan_of(self, held: Sequence[Held]) -> _Plan:
        there = {(each.namespace, each.name): each for each in held}
        quotas = await self._quotas()
        pairs = [(quota, there.pop((quota.namespace, quota.name), None)) for quota in quotas]
        as_made = [(quota, found) for quota, found in pairs if found is not None and found.source == quota.source]
        left = list(there.values())
        revoked = [each for each in left if await self._is_revoked(each)]
        return _Plan(
            [quota for quota, found in pairs if found is None or found.source != quota.source],
            revoked,
            [quota for quota, found in as_made if differences(quota, found)],
            [each for each in left if each not in revoked],
        )

    async def _is_revoked(self, held: Held) -> bool:
        keys = [source.rpartition(":")[0] for source in held.source.split(",") if source]
        known = [await self._rules.read(key) is not None for key in keys]
        return bool(keys) and all(known)  # the ledger knows them, and nothing in force makes this object of them

    async def _apply_one(self, cluster: CapacityCluster, quota: CapacityQuota) -> str:
        """Why it could not be applied; "" = it is. One team's missing namespace must not hold up the others."""
        try:
            await self._apply(cluster, [quota], is_dry_run=False)
        except CorkboardError as error:
            return str(error)
        return ""

    async def _apply(self, cluster: CapacityCluster, quotas: Sequence[CapacityQuota], *, is_dry_run: bool) -> None:
        for quota in quotas:
            check_capacity(quota)
            await asyncio.to_thread(cluster.apply, quota, is_dry_run=True)
        for quota in quotas if not is_dry_run else ():
            await asyncio.to_thread(cluster.apply, quota, is_dry_run=False)
            log.info("capacity applied", namespace=quota.namespace, object=quota.name, rules=quota.source)

    async def _quotas(self) -> list[CapacityQuota]:
        return quotas_of(await self._capacity_rules(), self._namespace)

    async def _capacity_rules(self) -> list[Rule]:
        found = await self._rules.list_rules(f"{CAPACITY}/", is_published_only=True)
        return [version.rule for version in found if version.rule.kind == CAPACITY]

    def _lines(self, rules: Sequence[Rule], held: Mapping[tuple[str, str], Held], team: str, zone: str) -> list[Line]:
        quotas = {(quota.zone, quota.team): quota for quota in quotas_of(rules, self._namespace)}
        keyed = [(parse_key(rule.key), rule) for rule in rules]
        chosen = [(key, rule) for key, rule in keyed if key.team and team in ("", key.team) and zone in ("", key.zone)]
        chosen.sort(key=lambda each: (each[0].zone, each[0].team, each[0].resource))
        return [_line(key, rule, quotas[key.zone, key.team], held) for key, rule in chosen]

    async def _dispatch_forever(self) -> None:
        while True:
            if self._is_leader():
                try:
                    await self.dispatch()
                    self._health.set(self.name, True)
                except CorkboardError as error:
                    # Rules in the ledger are safe and the next round tries again: told, but the service stays ready.
                    self._failures.inc()
                    self._health.set(self.name, True, f"capacity is not applied: {error}")
                    log.warning("capacity not applied", error=str(error))
            await self._clock.sleep(self._every_s)


class ClusterCheck:
    """RuleCheck: no capacity rule asks for more than the nodes have, beside all the others."""

    name = "cluster"

    def __init__(self, cluster: CapacityCluster) -> None:
        self._cluster = cluster

    async def check(self, rule: Rule, published: Sequence[Rule]) -> Sequence[Violation]:
        """See RuleCheck."""
        if rule.kind != CAPACITY:
            return []
        key = parse_key(rule.key)
        zones = await asyncio.to_thread(self._cluster.allocatable)
        if not zones:
            return []
        if key.zone and key.zone not in zones:
            known = ", ".join(sorted(filter(None, zones)))
            return [Violation("key", f"the cluster has no zone {key.zone!r}; it has: {known}")]
        there_is = allocatable_of(key, zones)
        others = total(_keyed(published), key.resource, key.zone) if key.team else 0.0
        if there_is is None or others + rule.limit <= there_is:
            return []
        where = f"zone {key.zone}" if key.zone else "all zones"
        beside = f" beside {others:g} of others" if others else ""
        return [Violation("limit", f"{where} can give {there_is:g} {rule.unit} of {key.resource}{beside}")]


def _line(key: CapacityKey, rule: Rule, quota: CapacityQuota, held: Mapping[tuple[str, str], Held]) -> Line:
    found = held.get((quota.namespace, quota.name))
    is_hard = key.resource in HARD
    resource = (HARD | CONTAINER)[key.resource][0]
    there = (found.hard if is_hard else found.container_default) if found else {}
    used = found.used.get(resource) if found and is_hard else None
    drift = differences(quota, found)
    name = resource if is_hard else f"default {resource}"
    return Line(rule, key, quota.namespace, resource, there.get(resource), used, bool(held) and name in drift)


def _free(rules: Sequence[Rule], zones: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    keyed = _keyed(rules)
    resources = sorted({key.resource for key, _ in keyed})
    found = {}
    for zone in sorted(filter(None, zones)):
        for resource in resources:
            there_is = allocatable_of(CapacityKey(resource, zone), zones)
            if there_is is not None:
                found[f"{zone}/{resource}"] = there_is - total(keyed, resource, zone)
    return found


def _keyed(rules: Sequence[Rule]) -> list[tuple[CapacityKey, float]]:
    return [(parse_key(rule.key), rule.limit) for rule in rules if rule.kind == CAPACITY]
