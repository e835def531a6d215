"""Capacity rules become quotas of a cluster, follow their life, and are compared with what is there."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.errors import Invalid, PermissionDenied, Unavailable
from chassis.health import Health
from chassis.metrics import Metrics
from chassis.protection import Protection
from chassis.protection.rule import CAPACITY, Rule
from chassis.testing import FakeClock
from services.quota.app.capacity import CapacityDispatcher, ClusterCheck
from services.quota.domain.capacity import (
    CapacityQuota,
    amount,
    is_sound_capacity,
    parse_key,
    quantity,
    quotas_of,
)
from services.quota.domain.cluster import Held, differences
from services.quota.domain.rule_version import AuditRecord, RuleState, RuleVersion, Step
from services.quota.offline.capacity import apply_to_cluster, main, read_quotas
from services.quota.outbound.kubernetes_manifests import ManifestFolder, manifests
from services.quota.tests.capacity_contract import check_contract
from services.quota.wiring import Ledger

QUOTA = CapacityQuota("feed", "zone-a", "corkboard", {"requests.cpu": "40", "pods": "100"}, {"memory": "512Mi"})
GIB = 2.0**30


def rule(key: str, limit: float, unit: str = "cores", version: int = 1, **fields: Any) -> Rule:
    return Rule(f"capacity/{key}", limit, unit=unit, owner="ann", kind=CAPACITY, version=version, **fields)


CPU, MEMORY = rule("requests.cpu/az-a/feed", 2.5), rule("requests.memory/az-a/feed", 8 * GIB, "bytes")
DEFAULT = rule("container.memory/az-a/feed", GIB, "bytes")


class SmallCluster:
    """CapacityCluster: two zones of four cores and sixteen GiB; it can be away, and somebody may change it by hand."""

    target = "cluster"

    def __init__(self) -> None:
        self.quotas: dict[tuple[str, str], Held] = {}
        self.is_away = False
        self.refused_namespace = ""
        self.applied: list[tuple[str, bool]] = []

    def held(self) -> Sequence[Held]:
        self._check()
        return list(self.quotas.values())

    def apply(self, quota: CapacityQuota, *, is_dry_run: bool) -> None:
        self._check()
        if quota.namespace == self.refused_namespace:
            raise Unavailable("no such namespace")
        self.applied.append((quota.name, is_dry_run))
        if not is_dry_run:
            hard = {name: amount(text) for name, text in quota.hard.items()}
            default = {name: amount(text) for name, text in quota.container_default.items()}
            held = Held(quota.namespace, quota.name, hard, default, {"requests.cpu": 1.0}, quota.source)
            self.quotas[quota.namespace, quota.name] = held

    def remove(self, held: Held) -> None:
        self._check()
        self.quotas.pop((held.namespace, held.name), None)

    def allocatable(self) -> Mapping[str, Mapping[str, float]]:
        self._check()
        return {zone: {"cpu": 4.0, "memory": 16 * GIB, "pods": 110.0} for zone in ("az-a", "az-b")}

    def _check(self) -> None:
        if self.is_away:
            raise Unavailable("planted")


def dispatcher(ledger: Ledger, cluster: SmallCluster | ManifestFolder | None) -> CapacityDispatcher:
    return CapacityDispatcher(
        ledger.rules,
        cluster,
        "{team}-{zone}",
        FakeClock(),
        1.0,
        health=Health(),
        metrics=Metrics("test"),
        is_leader=lambda: True,
        is_admin=lambda actor: actor == "root",
    )


async def put(ledger: Ledger, *rules: Rule, state: RuleState = RuleState.PUBLISHED) -> None:
    """The rules in a state, whatever they were before."""
    for each in rules:
        before = await ledger.rules.read(each.key, each.version)
        after = RuleVersion(each, state, 1, "ann", "", "ann")
        await ledger.rules.write([AuditRecord(Step("publish", "ann", "", 1), before, after)])


def test_key_says_resource_zone_and_team_and_nothing_else() -> None:
    assert parse_key("capacity/pods/az-a/feed").team == "feed"
    assert parse_key("capacity/pods").zone == ""
    for bad in (
        "pods/az-a/feed",
        "capacity",
        "capacity/wishes/az-a/feed",
        "capacity/pods/AZ/feed",
        "capacity/pods/a/b/c",
    ):
        with pytest.raises(Invalid) as refused:
            parse_key(bad)
        assert refused.value.field == "key"


@pytest.mark.parametrize(
    ("field", "candidate"),
    [
        ("unit", rule("pods/az-a/feed", 3.0, "cores")),
        ("kind", Rule("capacity/pods/az-a/feed", 3.0, owner="ann")),
        ("key", rule("wishes/az-a/feed", 3.0)),
        ("burst", rule("requests.cpu/az-a/feed", 3.0, burst=1.0)),
        ("period_s", rule("requests.cpu/az-a/feed", 3.0, period_s=2.0)),
        ("is_global", rule("requests.cpu/az-a/feed", 3.0, is_global=True)),
        ("is_shadow", rule("requests.cpu/az-a/feed", 3.0, is_shadow=True)),
    ],
)
def test_rule_that_is_no_capacity_is_refused_by_field(field: str, candidate: Rule) -> None:
    assert [violation.field for violation in is_sound_capacity(candidate, [])] == [field]
    assert list(is_sound_capacity(CPU, [])) == list(is_sound_capacity(Rule("surface", 1.0), [])) == []


def test_rules_of_a_team_and_zone_become_one_quota_and_parents_none() -> None:
    rules = [CPU, MEMORY, DEFAULT, rule("requests.cpu/az-a", 4.0), rule("pods/az-b/feed", 9.0, "pods")]
    first, second = quotas_of(rules, "{team}-{zone}")
    assert (first.namespace, first.name) == ("feed-az-a", "corkboard-feed-az-a")
    assert (first.hard, first.container_default) == (
        {"requests.cpu": "2500m", "requests.memory": "8Gi"},
        {"memory": "1Gi"},
    )
    assert (second.namespace, second.hard) == ("feed-az-b", {"pods": "9"})


@given(st.floats(0.001, 1e6), st.sampled_from(["cores", "bytes", "pods"]))
def test_quantity_is_never_more_than_the_limit_and_nearly_all_of_it(limit: float, unit: str) -> None:
    written = amount(quantity(limit, unit))
    assert written <= limit + 1e-6
    assert written > limit - (0.001 if unit == "cores" else 1.0) - 1e-6


@pytest.mark.parametrize(
    ("one", "other"), [("500m", "0.5"), ("1Gi", "1024Mi"), ("1k", "1e3"), ("2", "2000m"), ("1M", "1000000")]
)
def test_quantities_are_compared_by_what_they_are_worth(one: str, other: str) -> None:
    assert amount(one) == amount(other)
    held = Held("corkboard", QUOTA.name, {"pods": amount(other)})
    assert differences(CapacityQuota("feed", "zone-a", "corkboard", {"pods": one}), held) == {}


@pytest.mark.parametrize("bad", ["", "much", "-1", "1Xi", "1..2"])
def test_quantity_that_is_none_is_invalid(bad: str) -> None:
    with pytest.raises(Invalid):
        amount(bad)


async def test_published_rules_are_applied_after_a_dry_run_and_again_only_when_they_change(ledger: Ledger) -> None:
    cluster = SmallCluster()
    capacity = dispatcher(ledger, cluster)
    await put(ledger, CPU, MEMORY)
    for _ in range(2):
        await capacity.dispatch()
    assert cluster.applied == [("corkboard-feed-az-a", True), ("corkboard-feed-az-a", False)]
    await put(ledger, CPU, state=RuleState.SUPERSEDED)
    await put(ledger, rule("requests.cpu/az-a/feed", 3.0, version=2))
    await capacity.dispatch()
    assert cluster.quotas["feed-az-a", "corkboard-feed-az-a"].hard["requests.cpu"] == 3.0
    await put(ledger, rule("requests.cpu/az-a/feed", 3.0, version=2), state=RuleState.SUPERSEDED)
    await put(ledger, rule("requests.cpu/az-a/feed", 3.0, version=3, tier=2))
    await capacity.dispatch()
    assert "requests.cpu/az-a/feed:3" in cluster.quotas["feed-az-a", "corkboard-feed-az-a"].source, "or drift is missed"


async def test_drift_is_reported_and_removed_only_by_an_admin(ledger: Ledger) -> None:
    cluster = SmallCluster()
    capacity = dispatcher(ledger, cluster)
    await put(ledger, CPU, MEMORY)
    await capacity.dispatch()
    ours = cluster.quotas["feed-az-a", "corkboard-feed-az-a"]
    cluster.quotas["feed-az-a", ours.name] = Held(
        ours.namespace, ours.name, {"requests.cpu": 99.0, "requests.memory": 8 * GIB}, {}, {}, ours.source
    )
    await capacity.dispatch()
    report = await capacity.report()
    assert [(line.resource, line.found, line.is_drifted) for line in report.lines] == [
        ("requests.cpu", 99.0, True),
        ("requests.memory", 8 * GIB, False),
    ]
    with pytest.raises(PermissionDenied):
        await capacity.apply_all("ann", is_dry_run=False)
    await capacity.apply_all("root", is_dry_run=True)
    assert (await capacity.report()).lines[0].is_drifted
    await capacity.apply_all("root", is_dry_run=False)
    report = await capacity.report()
    assert [line.is_drifted for line in report.lines] == [False, False]
    assert (report.lines[0].used, report.free["az-a/requests.cpu"], report.free["az-b/requests.cpu"]) == (1.0, 1.5, 4.0)


async def test_revoked_rules_are_taken_out_of_force_and_strangers_are_left(ledger: Ledger) -> None:
    cluster = SmallCluster()
    capacity = dispatcher(ledger, cluster)
    await put(ledger, CPU)
    await capacity.dispatch()
    cluster.quotas["ads-az-a", "corkboard-ads-az-a"] = Held("ads-az-a", "corkboard-ads-az-a", source="capacity/x:1")
    cluster.quotas["old", "by-hand"] = Held("old", "by-hand")
    await put(ledger, CPU, state=RuleState.REVOKED)
    await capacity.dispatch()
    assert sorted(cluster.quotas) == [("ads-az-a", "corkboard-ads-az-a"), ("old", "by-hand")]
    assert (await capacity.report()).orphans == ["ads-az-a/corkboard-ads-az-a", "old/by-hand"]


async def test_cluster_that_is_away_keeps_rules_and_is_caught_up_with(ledger: Ledger) -> None:
    cluster = SmallCluster()
    capacity = dispatcher(ledger, cluster)
    cluster.is_away = True
    await put(ledger, CPU)
    for call in (capacity.dispatch(), capacity.report(), capacity.apply_all("root", is_dry_run=False)):
        with pytest.raises(Unavailable):
            await call
    cluster.is_away = False
    await capacity.dispatch()
    assert len(cluster.quotas) == 1


async def test_team_that_the_cluster_refuses_holds_up_nobody_else(ledger: Ledger) -> None:
    cluster = SmallCluster()
    cluster.refused_namespace = "feed-az-a"
    capacity = dispatcher(ledger, cluster)
    await put(ledger, CPU, rule("pods/az-b/ads", 3.0, "pods"))
    with pytest.raises(Unavailable, match="1 of 2 quotas: no such namespace"):
        await capacity.dispatch()
    assert list(cluster.quotas) == [("ads-az-b", "corkboard-ads-az-b")]


async def test_without_a_cluster_rules_are_kept_and_told(ledger: Ledger) -> None:
    capacity = dispatcher(ledger, None)
    await put(ledger, CPU)
    await capacity.dispatch()
    report = await capacity.report()
    assert (report.target, [(line.rule.limit, line.found) for line in report.lines]) == ("none", [(2.5, None)])
    with pytest.raises(Unavailable, match="neither"):
        await capacity.apply_all("root", is_dry_run=False)


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def test_same_dispatcher_writes_manifests(ledger: Ledger, tmp_path: Path) -> None:
    folder = tmp_path / "manifests"
    capacity = dispatcher(ledger, ManifestFolder(folder))
    await put(ledger, CPU, DEFAULT)
    await capacity.dispatch()
    name = "feed-az-a-corkboard-feed-az-a"
    assert files(folder) == [f"{name}-limitrange.json", f"{name}-resourcequota.json"]
    assert (await capacity.report()).target == "manifests"
    await put(ledger, CPU, DEFAULT, state=RuleState.REVOKED)
    await capacity.dispatch()
    assert files(folder) == []


def test_folder_of_manifests_keeps_the_contract(tmp_path: Path) -> None:
    check_contract(ManifestFolder(tmp_path / "new"), "feed-az-a")


async def test_rule_within_the_nodes_passes_and_one_beyond_them_says_what_there_is() -> None:
    cluster = SmallCluster()
    check = ClusterCheck(cluster)
    others = [rule("requests.cpu/az-a/ads", 2.0), rule("requests.cpu/az-b/ads", 4.0), rule("requests.cpu/az-a", 4.0)]
    assert await check.check(rule("requests.cpu/az-a/feed", 2.0), others) == []
    (violation,) = await check.check(rule("requests.cpu/az-a/feed", 2.5), others)
    assert violation.message == "zone az-a can give 4 cores of requests.cpu beside 2 of others"
    (violation,) = await check.check(rule("requests.cpu", 8.5), others)
    assert "all zones can give 8" in violation.message
    (violation,) = await check.check(rule("requests.cpu/az-c/feed", 1.0), others)
    assert (violation.field, "az-a, az-b" in violation.message) == ("key", True)
    assert await check.check(rule("limits.cpu/az-a/feed", 1e6), others) == [], "limits may be overcommitted"
    assert await check.check(Rule("surface", 1e9), others) == []
    cluster.is_away = True
    with pytest.raises(Unavailable):
        await check.check(rule("pods/az-a/feed", 1.0, "pods"), [])


def test_processes_do_not_enforce_capacity() -> None:
    protection = Protection(clock=FakeClock())
    assert protection.set_rules([CPU, Rule("surface", 1.0)])
    assert [each.key for each in protection.rules] == ["surface"]
    for _ in range(10):
        protection.admit("capacity/requests.cpu/az-a/feed")


def test_objects_are_a_resource_quota_and_a_limit_range() -> None:
    quota, limits = manifests(QUOTA)
    assert (quota["apiVersion"], quota["kind"], limits["kind"]) == ("v1", "ResourceQuota", "LimitRange")
    assert quota["metadata"]["name"] == "corkboard-feed-zone-a"
    assert quota["spec"] == {"hard": {"requests.cpu": "40", "pods": "100"}}
    assert limits["spec"]["limits"][0]["defaultRequest"] == {"memory": "512Mi"}


def test_main_writes_one_file_per_object(tmp_path: Path) -> None:
    source = tmp_path / "capacity.json"
    source.write_text(json.dumps([{"team": "feed", "zone": "zone-a", "namespace": "corkboard", "hard": {"pods": "9"}}]))
    assert main([str(source), "--out", str(tmp_path / "out")]) == 0
    (written,) = (tmp_path / "out").iterdir()
    assert json.loads(written.read_text())["spec"]["hard"] == {"pods": "9"}


@pytest.mark.parametrize(
    ("field", "changed"),
    [
        ("team", {"team": "Feed/../x"}),
        ("hard", {"hard": {}}),
        ("hard", {"hard": {"wishes": "3"}}),
        ("hard", {"hard": {"pods": "-1"}}),
        ("container_default", {"container_default": {"cpu": "much"}}),
    ],
)
def test_bad_quota_is_refused_by_field(tmp_path: Path, field: str, changed: dict[str, object]) -> None:
    source = tmp_path / "capacity.json"
    sound = {"team": "feed", "zone": "zone-a", "namespace": "corkboard", "hard": {"pods": "9"}}
    source.write_text(json.dumps([sound | changed]))
    with pytest.raises(Invalid) as refused:
        read_quotas(source)
    assert refused.value.field == field
    assert main([str(source), "--out", str(tmp_path / "out")]) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("is_applied", [True, False])
def test_everything_is_dry_run_first_and_only_drift_is_applied(is_applied: bool) -> None:
    cluster, other = SmallCluster(), CapacityQuota("ads", "zone-a", "corkboard", {"pods": "1"})
    cluster.apply(other, is_dry_run=False)
    cluster.applied.clear()
    assert apply_to_cluster([QUOTA, other], cluster, is_applied=is_applied) == 1
    dry = [(QUOTA.name, True), (other.name, True)]
    assert cluster.applied == dry + [(QUOTA.name, False)] * is_applied
