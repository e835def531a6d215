"""Quota and priorities at a real gRPC door: what is charged, what a refusal says, what no caller does to metrics."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from grpc import aio

from chassis.grpc.status import DETAILS_KEY
from chassis.metrics import Metrics
from chassis.protection import Protection, Rule
from chassis.protection.recent import RecentKeys
from chassis.tests.grpc_world import ScriptedQuota, serving
from protos.quota.v1 import quota_pb2 as pb
from protos.quota.v1 import quota_pb2_grpc as rpc

RESOURCE = "quota/GetRule"
MAX_KEYS = 1_000


@dataclass(frozen=True)
class Door:
    """A running door that charges `quota/GetRule/<key>/<criticality>`."""

    stub: Any
    protection: Protection
    metrics: Metrics

    async def ask(self, key: str = "a", criticality: str = "") -> None:
        metadata = (("criticality", criticality),) if criticality else ()
        await self.stub.GetRule(pb.RuleRef(key=key), metadata=metadata, timeout=5.0)

    async def refused(self, key: str = "a", criticality: str = "") -> aio.AioRpcError:
        with pytest.raises(aio.AioRpcError) as caught:
            await self.ask(key, criticality)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        return caught.value


@asynccontextmanager
async def door_with(*rules: Rule, is_shadow: bool = False) -> AsyncIterator[Door]:
    metrics = Metrics("test")
    protection = Protection(metrics=metrics, is_shadow=is_shadow, max_keys=MAX_KEYS)
    assert protection.set_rules(rules)

    def resource_of(_: str, request: Any) -> tuple[str, float]:
        return f"{RESOURCE}/{request.key}", 1.0

    async with (
        serving(ScriptedQuota(), metrics=metrics, admitter=protection, resource_of=resource_of) as door,
        aio.insecure_channel(door.address) as channel,
    ):
        yield Door(rpc.QuotaServiceStub(channel), protection, metrics)


async def test_refusal_carries_retry_after_ratelimit_fields_and_the_level() -> None:
    async with door_with(Rule("quota", 1e6, burst=1e6), Rule(f"{RESOURCE}/*", 1.0, period_s=10.0)) as door:
        await door.ask()
        error = await door.refused()
    metadata = dict(error.trailing_metadata() or ())
    assert 9 <= int(metadata["retry-after"]) <= 10
    assert metadata["ratelimit-policy"] == '"quota/GetRule/*";q=1;w=10'
    assert metadata["ratelimit"] == '"quota/GetRule/*";r=0;t=10'
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    details = list(status_pb2.Status.FromString(metadata[DETAILS_KEY]).details)
    assert details[0].Unpack(info) and details[1].Unpack(retry)
    assert (info.reason, info.metadata["field"]) == ("quota", f"{RESOURCE}/*")
    assert 9 < retry.retry_delay.ToMilliseconds() / 1000 <= 10


async def test_priority_is_a_level_that_rules_can_name() -> None:
    async with door_with(Rule(f"{RESOURCE}/*/sheddable", 1.0, period_s=60.0)) as door:
        await door.ask(criticality="sheddable")
        await door.refused(criticality="sheddable")
        for criticality in ("critical", "", "nonsense"):
            for _ in range(3):
                await door.ask(criticality=criticality)


async def test_rule_without_the_level_is_one_budget_of_all_priorities() -> None:
    async with door_with(Rule(f"{RESOURCE}/a", 2.0, period_s=60.0, burst=2.0)) as door:
        await door.ask(criticality="critical")
        await door.ask(criticality="sheddable")
        await door.refused()


async def test_shadow_mode_lets_everything_in_and_counts() -> None:
    async with door_with(Rule(f"{RESOURCE}/a", 1.0, period_s=60.0), is_shadow=True) as door:
        for _ in range(3):
            await door.ask()
        (window,) = door.protection.drain_usage()
    assert (window.admitted, window.shadow_refused) == (3.0, 2.0)


async def test_thousands_of_tenants_are_no_metric_labels_and_bounded_in_memory() -> None:
    async with door_with(Rule(f"{RESOURCE}/*", 1e6, burst=1e6)) as door:
        for number in range(3 * MAX_KEYS):
            door.protection.admit(f"{RESOURCE}/tenant-{number}\x00\xff/default")
        await door.ask("tenant-by-rpc")
        assert door.protection._plans.num_held <= MAX_KEYS
        assert len(door.protection._planner._budgets) <= MAX_KEYS
        (window,) = door.protection.drain_usage()
        text = door.metrics.exposition().decode()
    assert window.key == f"{RESOURCE}/*"
    assert "tenant" not in text
    assert f'rule="{RESOURCE}/*"' in text


def test_thousands_of_rules_are_a_hundred_labels_and_other() -> None:
    metrics = Metrics("test")
    protection = Protection(metrics=metrics)
    protection.set_rules([Rule(f"team-{number}", 10.0) for number in range(2_000)])
    for number in range(2_000):
        protection.admit(f"team-{number}")
    protection.drain_usage()
    lines = [line for line in metrics.exposition().decode().splitlines() if "protection_units_total{" in line]
    assert len({line.split('rule="')[1].split('"')[0] for line in lines}) == 101
    assert 'protection_units_total{outcome="admitted",rule="other"} 1900.0' in lines


def test_key_in_use_is_never_forgotten_for_new_ones() -> None:
    recent: RecentKeys[int, list[int]] = RecentKeys(100, lambda key: [key])
    held = recent[7]
    for number in range(1_000, 3_000):
        assert recent[number] == [number]
        assert recent[7] is held
