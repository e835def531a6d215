"""Second attempts of reads: when they start, and what they say of the endpoint that was slower."""

import asyncio
from typing import Any

import numpy as np
import pytest

from chassis.errors import DeadlineExceeded
from chassis.grpc.client import ChannelPool
from chassis.grpc.hedging import NUM_TO_JUDGE, HedgeDelay
from chassis.grpc.picker import FAILURES_TO_EJECT
from chassis.grpc.target import parse_target
from chassis.metrics import Metrics
from chassis.tests.grpc_world import ScriptedQuota, calling, counted, serving
from protos.quota.v1 import quota_pb2 as pb
from protos.quota.v1 import quota_pb2_grpc as rpc


async def _hang(request: Any) -> Any:
    await asyncio.sleep(30)


async def _read(pool: ChannelPool, timeout_s: float = 5.0) -> Any:
    return await pool.hedged(rpc.QuotaServiceStub, "GetRule", pb.RuleRef(key="k"), timeout_s=timeout_s)


def test_before_any_answer_half_of_the_time_left_is_waited() -> None:
    assert HedgeDelay().seconds(0.2, is_far=False) == pytest.approx(0.1)


def test_wait_is_the_tail_of_the_last_answers() -> None:
    delay, durations_s = HedgeDelay(), np.random.default_rng(7).uniform(0.003, 0.009, NUM_TO_JUDGE * 4)
    for duration_s in durations_s:
        delay.record(float(duration_s))
    assert delay.seconds(1.0, is_far=False) == pytest.approx(float(np.quantile(durations_s, 0.99)))
    assert delay.seconds(0.3, is_far=True) == pytest.approx(0.1)  # another zone is asked late
    assert delay.seconds(0.01, is_far=False) == pytest.approx(0.005)


def test_wait_never_falls_to_nothing() -> None:
    delay = HedgeDelay()
    for _ in range(NUM_TO_JUDGE):
        delay.record(0.0)
    assert delay.seconds(1.0, is_far=False) == pytest.approx(0.002)


@pytest.mark.parametrize(
    ("target", "may_be_many"), [("indexer:7103", True), ("10.1.2.3:7103@a", False), ("[::1]:7103", False)]
)
def test_only_a_name_may_stand_for_several_processes(target: str, *, may_be_many: bool) -> None:
    assert parse_target(target)[0].may_be_many is may_be_many


async def test_address_without_another_is_asked_once() -> None:
    servicer = ScriptedQuota(_hang)
    async with serving(servicer, grace_s=0.0) as door, calling(door.address) as pool:
        with pytest.raises(DeadlineExceeded):
            await _read(pool, timeout_s=0.2)
    assert servicer.num_calls == 1


async def test_second_endpoint_answers_for_one_that_went_away() -> None:
    async with serving(ScriptedQuota()) as gone:
        address = gone.address
    servicer = ScriptedQuota()
    async with serving(servicer) as door, calling(f"{address}@a,{door.address}@b", zone="a") as pool:
        started_s = asyncio.get_running_loop().time()
        assert (await _read(pool, timeout_s=10.0)).rule_version.rule.key == "k"
        assert asyncio.get_running_loop().time() - started_s < 5.0  # half of the time is not waited for
    assert servicer.num_calls == 1


async def test_endpoint_that_keeps_losing_is_set_aside() -> None:
    hanging, metrics = ScriptedQuota(_hang), Metrics("test")
    async with (
        serving(hanging, grace_s=0.0) as one,
        serving(ScriptedQuota()) as two,
        calling(f"{one.address}@a,{two.address}@a", zone="a", name="q", metrics=metrics) as pool,
    ):
        for _ in range(FAILURES_TO_EJECT * 6):
            await _read(pool, timeout_s=0.4)
    assert counted(metrics, "grpc_client_ejections_total", pool="q") >= 1
    assert hanging.num_calls < FAILURES_TO_EJECT * 6
