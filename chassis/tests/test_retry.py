"""Retries end: at the attempts, the deadline, the budget."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.deadline import Deadline
from chassis.errors import Invalid, Overloaded, Unavailable
from chassis.retry import Backoff, RetryBudget, retry


class _Clock:
    """Time that passes only in sleep."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.waits_s: list[float] = []

    def now_ms(self) -> int:
        return int(self.now_s * 1000)

    def monotonic_s(self) -> float:
        return self.now_s

    async def sleep(self, duration_s: float) -> None:
        self.waits_s.append(duration_s)
        self.now_s += duration_s


class _Flaky:
    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.num_calls = 0

    async def __call__(self) -> str:
        self.num_calls += 1
        if self.failures:
            raise self.failures.pop(0)
        return "good"


async def test_answer_comes_after_transient_failures() -> None:
    clock, call = _Clock(), _Flaky(Unavailable("a"), Unavailable("b"))
    answer = await retry(call, attempts=3, base_s=0.1, max_s=1.0, deadline=Deadline.after(10, clock), clock=clock)
    assert answer == "good"
    assert call.num_calls == 3
    assert len(clock.waits_s) == 2


async def test_attempts_are_a_limit_and_the_last_error_is_raised() -> None:
    clock, call = _Clock(), _Flaky(*[Unavailable(str(n)) for n in range(9)])
    with pytest.raises(Unavailable, match="3"):
        await retry(call, attempts=4, base_s=0.1, max_s=1.0, deadline=Deadline.after(100, clock), clock=clock)
    assert call.num_calls == 4


async def test_invalid_input_is_never_tried_again() -> None:
    clock, call = _Clock(), _Flaky(Invalid("never"))
    with pytest.raises(Invalid):
        await retry(call, attempts=9, base_s=0.1, max_s=1.0, deadline=Deadline.after(100, clock), clock=clock)
    assert call.num_calls == 1


async def test_no_wait_goes_past_the_deadline() -> None:
    clock, call = _Clock(), _Flaky(*[Overloaded("full", retry_after_s=2.0) for _ in range(9)])
    with pytest.raises(Overloaded):
        await retry(call, attempts=9, base_s=0.1, max_s=0.1, deadline=Deadline.after(5, clock), clock=clock)
    assert call.num_calls == 3
    assert clock.now_s < 105.0


async def test_empty_budget_stops_retries() -> None:
    clock, call, budget = _Clock(), _Flaky(*[Unavailable("x") for _ in range(9)]), RetryBudget(0.1, 1.0)
    with pytest.raises(Unavailable):
        deadline = Deadline.after(100, clock)
        await retry(call, attempts=9, base_s=0.1, max_s=1, deadline=deadline, clock=clock, budget=budget)
    assert call.num_calls == 2


@given(st.integers(1, 500), st.integers(1, 5))
def test_budget_bounds_amplification_whatever_fails(num_calls: int, wanted_retries: int) -> None:
    budget = RetryBudget(ratio=0.1, max_tokens=10.0)
    retries = 0
    for _ in range(num_calls):
        budget.earn()
        retries += sum(budget.spend() for _ in range(wanted_retries))
    assert retries <= 10 + 0.1 * num_calls + 1e-6


@given(st.integers(0, 10_000), st.floats(0.001, 1.0), st.floats(1.0, 60.0), st.integers())
def test_wait_stays_within_its_ceiling(attempt: int, base_s: float, max_s: float, seed: int) -> None:
    wait_s = Backoff(base_s, max_s).wait_s(attempt, Unavailable("x"), random.Random(seed))
    assert 0.0 <= wait_s <= max_s
