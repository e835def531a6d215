"""Pipelines: order, counts, fallbacks, deadlines."""

import asyncio
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.deadline import Deadline, current_deadline
from chassis.errors import DeadlineExceeded, Invalid, Overloaded, Unavailable
from chassis.metrics import Metrics
from chassis.pipeline import Degraded, Pipeline, stage
from chassis.tests.grpc_world import counted


@dataclass(frozen=True)
class _Slate:
    items: tuple[int, ...] = ()
    path: tuple[str, ...] = ()


def _num_items(slate: _Slate) -> int:
    return len(slate.items)


def _step(name: str, *items: int) -> "_Step":
    return _Step(name, items)


@dataclass
class _Step:
    """Adds its items and its name; raises `error` when it has one."""

    name: str
    items: tuple[int, ...] = ()
    error: Exception | None = None
    sleeps_s: float = 0.0

    async def __call__(self, state: _Slate) -> _Slate:
        await asyncio.sleep(self.sleeps_s)
        if self.error is not None:
            raise self.error
        return _Slate(state.items + self.items, (*state.path, self.name))


def _drop_odd(slate: _Slate) -> _Slate:
    return replace(slate, items=tuple(item for item in slate.items if item % 2 == 0))


async def test_stages_run_in_order_and_are_counted() -> None:
    metrics = Metrics("test")
    pipeline = Pipeline([_step("retrieve", 1, 2, 3, 4), _drop_odd, _step("page")], _num_items, metrics=metrics)
    slate, reports, degraded = await pipeline.run(_Slate(), Deadline.after(5))
    assert slate == _Slate((2, 4), ("retrieve", "page"))
    assert [(each.name, each.num_in, each.num_kept, each.num_removed) for each in reports] == [
        ("retrieve", 0, 4, 0),
        ("_drop_odd", 4, 2, 2),
        ("page", 2, 2, 0),
    ]
    assert degraded == []
    assert all(each.fallback == each.error == "" and each.duration_ms >= 0 for each in reports)
    assert counted(metrics, "pipeline_items_total", stage="_drop_odd", outcome="removed") == 2


async def test_failed_stage_is_replaced_and_named() -> None:
    metrics = Metrics("test")
    broken = stage(_Step("rank", (9,), Unavailable("ranker is away")), component="ranker")
    pipeline = Pipeline([_step("retrieve", 1), broken.or_else(_step("retrieval_order"))], _num_items, metrics=metrics)
    slate, reports, degraded = await pipeline.run(_Slate(), Deadline.after(5))
    assert slate == _Slate((1,), ("retrieve", "retrieval_order"))
    assert degraded == [Degraded("ranker", "unavailable", "retrieval_order")]
    assert (reports[1].name, reports[1].fallback, reports[1].error) == ("rank", "retrieval_order", "unavailable")
    labels = {"component": "ranker", "reason": "unavailable", "level": "retrieval_order"}
    assert counted(metrics, "pipeline_degraded_total", **labels) == 1


async def test_second_fallback_runs_when_the_first_fails_too() -> None:
    step = stage(_Step("retrieve", error=ValueError("a bug")))
    ladder = step.or_else(_Step("popular", error=Unavailable("x"))).or_else(_step("last_good", 7))
    slate, _, degraded = await Pipeline([ladder], _num_items).run(_Slate(), Deadline.after(5))
    assert slate.items == (7,)
    assert degraded == [Degraded("retrieve", "internal", "last_good")]


async def test_the_stages_own_error_is_raised_when_every_fallback_fails() -> None:
    step = stage(_Step("retrieve", error=Unavailable("cg"))).or_else(_Step("popular", error=Invalid("no locale")))
    with pytest.raises(Unavailable, match="cg"):
        await Pipeline([step], _num_items).run(_Slate(), Deadline.after(5))


async def test_skipped_stage_leaves_the_state_as_it_was() -> None:
    step = stage(_Step("drop_blocked", error=Unavailable("x"))).or_skip()
    slate, _, degraded = await Pipeline([step], _num_items).run(_Slate((1,)), Deadline.after(5))
    assert slate == _Slate((1,))
    assert degraded == [Degraded("drop_blocked", "unavailable", "skipped")]


async def test_error_of_a_required_stage_ends_the_pipeline() -> None:
    after = _step("after")
    with pytest.raises(Overloaded):
        await Pipeline([_Step("admit", error=Overloaded("quota", retry_after_s=1)), after], _num_items).run(
            _Slate(), Deadline.after(5)
        )


async def test_slow_stage_is_cut_off_and_the_next_one_still_has_time() -> None:
    slow = stage(_Step("retrieve", sleeps_s=30)).within(share=0.1).or_else(_step("popular", 1))
    deadline = Deadline.after(1.0)
    slate, reports, degraded = await Pipeline([slow, _step("rank")], _num_items).run(_Slate(), deadline)
    assert slate.path == ("popular", "rank")
    assert degraded == [Degraded("retrieve", "deadline_exceeded", "popular")]
    assert reports[0].duration_ms < 500
    assert deadline.remaining_s() > 0.5


async def test_no_time_left_ends_a_required_stage_and_skips_to_a_fallback() -> None:
    passed = Deadline.after(0.0)
    with pytest.raises(DeadlineExceeded, match="rank"):
        await Pipeline([stage(_drop_odd, name="rank")], _num_items).run(_Slate(), passed)
    optional = stage(_step("rank", 5)).or_else(_drop_odd, level="retrieval_order")
    late = stage(_drop_odd, name="cut_page").even_late()
    slate, _, degraded = await Pipeline([optional, late], _num_items).run(_Slate((1, 2)), passed)
    assert slate.items == (2,)
    assert degraded == [Degraded("rank", "deadline_exceeded", "retrieval_order")]


async def test_calls_of_a_stage_see_its_own_deadline() -> None:
    seen: dict[str, float] = {}

    async def look(state: _Slate) -> _Slate:
        seen["inside"] = current_deadline(99.0).remaining_s()
        return state

    def look_after(state: _Slate) -> _Slate:
        seen["after"] = current_deadline(99.0).remaining_s()
        return state

    await Pipeline([stage(look).within(0.5), look_after], _num_items).run(_Slate(), Deadline.after(3.0))
    assert 0.4 < seen["inside"] <= 0.5
    assert 2.5 < seen["after"] <= 3.0


async def test_cancellation_is_no_failure_of_a_stage() -> None:
    step = stage(_Step("retrieve", sleeps_s=30)).or_else(_step("popular"))
    running = asyncio.ensure_future(Pipeline([step], _num_items).run(_Slate(), Deadline.after(60)))
    await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


@given(st.lists(st.sampled_from(["good", "broken", "skip"]), max_size=8))
def test_every_stage_is_reported_and_every_failure_named(kinds: list[str]) -> None:
    stages = []
    for number, kind in enumerate(kinds):
        error = None if kind == "good" else Unavailable("x")
        step = stage(_Step(f"s{number}", (number,), error))
        stages.append(step.or_skip() if kind == "skip" else step.or_else(_step(f"f{number}", number)))
    slate, reports, degraded = asyncio.run(Pipeline(stages, _num_items).run(_Slate(), Deadline.after(30)))
    assert [report.name for report in reports] == [f"s{number}" for number in range(len(kinds))]
    assert [each.component for each in degraded] == [f"s{n}" for n, kind in enumerate(kinds) if kind != "good"]
    assert slate.items == tuple(n for n, kind in enumerate(kinds) if kind != "skip")
