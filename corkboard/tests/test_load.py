"""A load is planned by its seed, sent on time, timed from the intended start, and its knee is found."""

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable

import pytest

from chassis.errors import DeadlineExceeded, Invalid
from corkboard.load.driver import NOT_SENT, Answer, Sample, drive
from corkboard.load.knee import PRECISION, Goal, find_knee
from corkboard.load.plan import Call, Phase, parse_mix, plan_calls
from corkboard.load.summary import summarise
from corkboard.load.surface import events_of, trace_id


def test_the_same_seed_gives_the_same_calls_and_another_does_not() -> None:
    phases, mix = [Phase(50, 10)], {"feed": 0.5, "events": 0.5}
    assert plan_calls(phases, mix, 20, 7) == plan_calls(phases, mix, 20, 7)
    assert plan_calls(phases, mix, 20, 7) != plan_calls(phases, mix, 20, 8)


def test_another_mix_leaves_the_arrivals_where_they_are() -> None:
    first, second = (plan_calls([Phase(50, 10)], mix, 20, 7) for mix in ({"feed": 1.0}, {"events": 1.0}))
    assert [call.at_s for call in first] == [call.at_s for call in second]


@pytest.mark.parametrize("arrivals", ["poisson", "constant"])
def test_each_phase_has_its_rate(arrivals: str) -> None:
    calls = plan_calls([Phase(100, 10), Phase(300, 10), Phase(100, 10)], {"feed": 1.0}, 5, 1, arrivals)
    counts = [sum(start <= call.at_s < start + 10 for call in calls) for start in (0, 10, 20)]
    assert counts == [pytest.approx(1000, rel=0.15), pytest.approx(3000, rel=0.15), pytest.approx(1000, rel=0.15)]
    assert [call.at_s for call in calls] == sorted(call.at_s for call in calls)


def test_poisson_gaps_vary_as_much_as_they_last() -> None:
    calls = plan_calls([Phase(200, 50)], {"feed": 1.0}, 5, 3)
    gaps = [after.at_s - before.at_s for before, after in itertools.pairwise(calls)]
    mean = sum(gaps) / len(gaps)
    deviation = (sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) ** 0.5
    assert deviation == pytest.approx(mean, rel=0.1)


@pytest.mark.parametrize("text", ["feed=x", "rank=1", "feed=0", "feed=-1,events=2", ""])
def test_a_wrong_mix_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="mix"):
        parse_mix(text)


def test_a_mix_is_shares() -> None:
    assert parse_mix("feed=3,events=1") == {"feed": 0.75, "events": 0.25}


async def test_a_stall_shows_in_every_call_that_it_delays() -> None:
    calls = [Call(number, number * 0.01, "feed", 0) for number in range(20)]

    async def send(call: Call) -> Answer:
        if call.number == 0:
            time.sleep(0.15)  # noqa: ASYNC251  # the sender itself stands still, and so do the calls behind it
        return Answer()

    samples = await drive(calls, send)
    assert len(samples) == 20
    assert sum(sample.latency_ms > 20 for sample in samples) >= 10
    assert max(sample.late_ms for sample in samples) > 100


async def test_a_slow_answer_does_not_hold_back_the_next_call() -> None:
    calls = [Call(number, number * 0.005, "feed", 0) for number in range(20)]

    async def send(_: Call) -> Answer:
        await asyncio.sleep(0.2)
        return Answer()

    assert max(sample.late_ms for sample in await drive(calls, send)) < 100


async def test_errors_are_samples_with_their_status() -> None:
    async def send(_: Call) -> Answer:
        raise DeadlineExceeded("too late")

    [sample] = await drive([Call(0, 0.0, "feed", 0)], send)
    assert (sample.code, sample.is_ok) == ("DEADLINE_EXCEEDED", False)


async def test_calls_beyond_what_one_process_can_hold_are_counted_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("corkboard.load.driver.MAX_IN_FLIGHT", 2)

    async def send(_: Call) -> Answer:
        await asyncio.sleep(0.05)
        return Answer()

    samples = await drive([Call(number, 0.0, "feed", 0) for number in range(5)], send)
    assert sorted(sample.code for sample in samples) == [NOT_SENT] * 3 + ["OK"] * 2


def test_the_summary_counts_good_answers_errors_and_degraded_parts() -> None:
    samples = [
        Sample(0.1, "feed", "OK", 10.0, degraded=("ranker",)),
        Sample(0.9, "feed", "OK", 30.0),
        Sample(1.2, "feed", "UNAVAILABLE", 900.0),
    ]
    report = summarise(samples, 2.0)
    feed = report["by_kind"]["feed"]
    assert (feed["num_ok"], feed["goodput_per_s"], feed["errors"]) == (2, 1.0, {"UNAVAILABLE": 1})
    assert feed["latency_ms"]["max"] == 30.0
    assert feed["degraded"] == {"ranker": 1}
    assert [(row["second"], row["num_ok"]) for row in report["by_second"]] == [(0, 2), (1, 0)]


def _holds_up_to(limit: float) -> Callable[[float], Awaitable[bool]]:
    async def holds_at(rate: float) -> bool:
        return rate <= limit

    return holds_at


@pytest.mark.parametrize("limit", [3.0, 10.0, 47.0, 260.0])
async def test_the_knee_is_found_from_below_and_from_above(limit: float) -> None:
    knee, steps = await find_knee(_holds_up_to(limit), 10.0)
    assert limit * (1 - 2 * PRECISION) <= knee <= limit
    assert any(not step.holds for step in steps)


async def test_no_knee_is_zero() -> None:
    assert (await find_knee(_holds_up_to(0.0), 10.0))[0] == 0.0


def test_the_goal_wants_answers_in_time_and_in_full() -> None:
    goal = Goal(limit_ms=100.0, min_full_ratio=0.9)
    good = [Sample(0.0, "feed", "OK", 50.0)] * 100
    assert goal.holds(good)
    assert not goal.holds([*good, *[Sample(0.0, "feed", "OK", 500.0)] * 5])
    assert not goal.holds([*good, *[Sample(0.0, "feed", "UNAVAILABLE", 5.0)] * 5])
    assert not goal.holds([*good, *[Sample(0.0, "feed", "OK", 50.0, degraded=("cg",))] * 20])
    assert not goal.holds([])


def test_events_of_a_call_are_unique_and_in_order() -> None:
    events = events_of("run", Call(3, 0.0, "events", 9), lambda: 1_000)
    assert len({event.event_id for event in events}) == len(events)
    assert [event.event_time_ms for event in events] == list(range(1_000, 1_000 + len(events)))
    assert {event.user_id for event in events} == {"run-user-0009"}


def test_a_trace_id_is_read_from_its_header() -> None:
    assert trace_id({"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}) == "a" * 32
    assert trace_id({}) == ""
