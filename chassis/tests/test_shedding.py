"""Under overload calls end in cheap errors, the least critical first, and the rest is answered in time."""

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest

from chassis.clock import SYSTEM_CLOCK
from chassis.criticality import Criticality, criticality_headers, criticality_of, set_current_criticality
from chassis.errors import Overloaded, OverQuota
from chassis.grpc.status import to_status
from chassis.metrics import Metrics
from chassis.protection.concurrency import WINDOW_S, GradientLimit
from chassis.protection.shedding import PROBES_IN_ROW, LoadShedder, SheddingLimits
from chassis.tests.grpc_world import ScriptedQuota, answer_with_key, counted, serving
from protos.quota.v1 import quota_pb2 as pb
from protos.quota.v1 import quota_pb2_grpc as rpc

SLOTS, SERVICE_S = 4, 0.1
CAPACITY_PER_S = SLOTS / SERVICE_S
DEADLINE_S = 1.5


def drive(limit: GradientLimit, slots: float, offered: int, seconds: float, now_s: float = 0.0) -> None:
    """A server that answers `slots` calls at once in 10 ms, always `offered` calls, as many inside as are let in."""
    until_s, step_s = now_s + seconds, 0.01
    while now_s < until_s:
        inside = min(offered, int(limit.limit))
        latency_s = 0.01 * max(1.0, inside / slots)
        for _ in range(min(inside, int(slots))):
            limit.sample("m", latency_s, inside, now_s)
        now_s += step_s


def test_limit_falls_to_what_is_answered_without_a_queue_and_rises_again_with_capacity() -> None:
    limit = GradientLimit(4, 1000, 2.0)
    drive(limit, slots=20, offered=5, seconds=2)
    drive(limit, slots=20, offered=10_000, seconds=30, now_s=10)
    assert 20 <= limit.limit <= 70
    drive(limit, slots=200, offered=10_000, seconds=30, now_s=50)
    assert limit.limit >= 200


def test_limit_of_an_idle_server_stays_and_bounds_hold() -> None:
    limit = GradientLimit(8, 64, 2.0)
    first = limit.limit
    drive(limit, slots=20, offered=2, seconds=10)
    assert limit.limit == first
    for window in range(500):
        for _ in range(10):
            limit.sample("m", 0.01 if window < 3 else 1.0, 64, window * WINDOW_S)
        assert 8 <= limit.limit <= 64


def test_latencies_count_relative_to_their_own_method() -> None:
    limit, rounds = GradientLimit(4, 100, 2.0), 400
    for i in range(rounds):
        limit.sample("fast", 0.001, 12, i * 0.05)
        limit.sample("slow", 1.0, 12, i * 0.05)
    assert limit.limit > 16


def test_permanently_slower_server_is_not_kept_at_the_lowest_limit() -> None:
    limit = GradientLimit(4, 100, 2.0)
    drive(limit, slots=20, offered=3, seconds=1)
    for i in range(4000):
        inside = int(limit.limit)
        limit.sample("m", 0.5, inside, 10.0 + i * 0.05)
    assert limit.limit > 8


@pytest.mark.parametrize(("inside", "refused"), [(70, 0), (80, 1), (120, 2), (128, 3)])
def test_less_critical_calls_are_refused_first(inside: int, refused: int) -> None:
    shedder = LoadShedder(SheddingLimits(), SYSTEM_CLOCK, Metrics("test"))
    outcomes = []
    for criticality in Criticality:
        try:
            shedder.check(criticality, inside)
            outcomes.append(True)
        except Overloaded as error:
            assert (error.reason, error.retry_after_s) == ("overload", 1.0)
            outcomes.append(False)
    assert outcomes == [False] * refused + [True] * (3 - refused)


async def test_lag_of_the_event_loop_refuses_and_one_stall_does_not() -> None:
    shedder = LoadShedder(SheddingLimits(max_lag_s=0.02), SYSTEM_CLOCK, Metrics("test"))
    watching = asyncio.create_task(shedder.watch())
    for stalls in (1, PROBES_IN_ROW + 2):
        for _ in range(stalls):
            await asyncio.sleep(0.04)
            time.sleep(0.15)  # noqa: ASYNC251 - blocks the loop on purpose
        if stalls == 1:
            shedder.check(Criticality.CRITICAL, 0)
    with pytest.raises(Overloaded, match="late"):
        shedder.check(Criticality.DEFAULT, 0)
    watching.cancel()


def test_switched_off_it_refuses_nothing() -> None:
    shedder = LoadShedder(SheddingLimits(is_enabled=False), SYSTEM_CLOCK, Metrics("test"))
    shedder.check(Criticality.SHEDDABLE, 10_000)


def test_criticality_is_read_and_handed_down_and_nonsense_is_ordinary() -> None:
    assert criticality_of([("x", "y"), ("criticality", "critical")]) is Criticality.CRITICAL
    assert criticality_of([("criticality", "\u2603")]) is criticality_of([]) is Criticality.DEFAULT
    assert criticality_headers() == ()
    set_current_criticality(Criticality.SHEDDABLE)
    assert criticality_headers() == (("criticality", "sheddable"),)
    set_current_criticality(Criticality.DEFAULT)


def test_refusal_over_quota_carries_the_standard_fields() -> None:
    error = OverQuota("no", rule="a/caf\u00e9", limit=10.0, period_s=2.0, retry_after_s=0.4)
    metadata = dict(to_status(error).trailing_metadata)
    assert metadata["retry-after"] == "1"
    assert metadata["ratelimit-policy"] == '"a/caf%C3%A9";q=10;w=2'
    assert metadata["ratelimit"] == '"a/caf%C3%A9";r=0;t=1'


@dataclass
class Phase:
    """What came of the calls of one phase."""

    good: int = 0
    refused: int = 0
    late: int = 0
    latencies_s: list[float] = field(default_factory=list)


class OpenLoad:
    """Calls at fixed times, whether or not the ones before were answered."""

    def __init__(self, address: str) -> None:
        self.channels = [grpc.aio.insecure_channel(address, options=[("lb", i)]) for i in range(2)]
        self.stubs: list[Any] = [rpc.QuotaServiceStub(channel) for channel in self.channels]

    async def phase(self, rate_per_s: float, seconds: float, criticality: str = "default") -> Phase:
        found, begun_s = Phase(), time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            for number in range(int(rate_per_s * seconds)):
                await asyncio.sleep(max(0.0, begun_s + number / rate_per_s - time.monotonic()))
                tasks.create_task(self._call(self.stubs[number % 2], criticality, found))
        return found

    async def _call(self, stub: Any, criticality: str, found: Phase) -> None:
        begun_s = time.monotonic()
        try:
            await stub.GetRule(pb.RuleRef(key="a"), timeout=DEADLINE_S, metadata=(("criticality", criticality),))
            found.good += 1
            found.latencies_s.append(time.monotonic() - begun_s)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
                found.refused += 1
            else:
                found.late += 1


async def overload(limits: SheddingLimits | None) -> tuple[Phase, Phase, Phase, float]:
    """(at capacity, at 3 times it, from a second after on, calls shed) on a server of `SLOTS` workers."""
    slots = asyncio.Semaphore(SLOTS)

    async def work(request: Any) -> Any:
        async with slots:
            await asyncio.sleep(SERVICE_S)
            return await answer_with_key(request)

    metrics = Metrics("test")
    async with serving(ScriptedQuota(work), shedding=limits, metrics=metrics) as door:
        load = OpenLoad(door.address)
        before = await load.phase(CAPACITY_PER_S, 6.0)
        during = await load.phase(3 * CAPACITY_PER_S, 6.0)
        await asyncio.sleep(1.0)
        after = await load.phase(0.5 * CAPACITY_PER_S, 3.0)
        for channel in load.channels:
            await channel.close()
    labels = [{"criticality": "default", "why": why} for why in ("concurrency", "lag")]
    shed = sum(counted(metrics, "grpc_server_shed_total", **each) for each in labels)
    return before, during, after, shed


@pytest.mark.slow
async def test_goodput_at_three_times_capacity_is_near_its_peak_and_normal_after() -> None:
    peak, during, after, shed = await overload(SheddingLimits(min_concurrent=6))
    assert during.good >= 0.8 * peak.good, (peak.good, during.good, during.refused, during.late)
    assert peak.good >= 0.7 * 6.0 * CAPACITY_PER_S, "the machine is too busy to tell"
    assert during.refused > 0.4 * 3 * CAPACITY_PER_S * 6.0
    assert shed == peak.refused + during.refused + after.refused
    assert after.refused + after.late == 0
    assert sorted(after.latencies_s)[int(len(after.latencies_s) * 0.99)] <= 5 * SERVICE_S


@pytest.mark.slow
async def test_without_shedding_the_same_overload_ends_in_late_answers() -> None:
    peak, during, _, _ = await overload(None)
    assert during.good < 0.8 * peak.good
    assert during.late > during.good


async def test_refused_call_through_the_door_says_when_to_come_back() -> None:
    release = asyncio.Event()

    async def wait(request: Any) -> Any:
        await release.wait()
        return await answer_with_key(request)

    servicer = ScriptedQuota(wait)
    async with serving(servicer, shedding=SheddingLimits(min_concurrent=1)) as door:
        load = OpenLoad(door.address)
        async with asyncio.TaskGroup() as tasks:
            inside = [tasks.create_task(load.phase(1000, 0.001, "critical")) for _ in range(3)]
            await servicer.wait_for_calls(3)
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await load.stubs[0].GetRule(pb.RuleRef(key="a"), metadata=(("criticality", "sheddable"),), timeout=5)
            release.set()
        for channel in load.channels:
            await channel.close()
    assert [task.result().good for task in inside] == [1, 1, 1]
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert dict(refused.value.trailing_metadata() or ())["retry-after"] == "1"
