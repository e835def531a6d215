"""A list of named stages that one can read aloud; each is timed, counted and spanned, and may have fallbacks.

`Pipeline([admit, retrieve.or_else(popular), rank.or_else(retrieval_order), cut_page.even_late()], count=num_items)`
"""

import asyncio
import inspect
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Generic, TypeVar

from chassis import tracing
from chassis.deadline import Deadline, set_current_deadline
from chassis.errors import CorkboardError, DeadlineExceeded
from chassis.logs import get_logger
from chassis.metrics import Metrics
from chassis.reason import reason_of
from chassis.stage import Degraded, PipelineStage, Stage, StageFunction, StageReport, stage

__all__ = ["Degraded", "Pipeline", "PipelineStage", "Stage", "StageReport", "stage"]

S = TypeVar("S")


class Pipeline(Generic[S]):
    """Runs its stages in order. `count` tells how many items a state holds."""

    def __init__(
        self,
        stages: Sequence[PipelineStage[S] | StageFunction[S]],
        count: Callable[[S], int],
        *,
        metrics: Metrics | None = None,
    ) -> None:
        self.stages = tuple(each if isinstance(each, PipelineStage) else stage(each) for each in stages)
        self._count = count
        self._metrics = _PipelineMetrics(metrics or Metrics("pipeline"))

    async def run(self, state: S, deadline: Deadline) -> tuple[S, list[StageReport], list[Degraded]]:
        """The last state, one report per stage, and every stage that was replaced by a fallback.

        Raises: the error of a required stage; DeadlineExceeded when no time is left for one.
        """
        reports: list[StageReport] = []
        degraded: list[Degraded] = []
        for each in self.stages:
            state, report = await self._run_stage(each, state, deadline)
            reports.append(report)
            if report.fallback:
                degraded.append(Degraded(each.component, report.error, report.fallback))
        return state, reports, degraded

    async def _run_stage(self, each: PipelineStage[S], state: S, deadline: Deadline) -> tuple[S, StageReport]:
        started_s = perf_counter()
        num_in = self._count(state)
        with tracing.span(f"stage {each.name}") as span:
            state, level, reason = await _advance(each, state, deadline)
            num_out = self._count(state)
            report = StageReport(
                each.name,
                num_in,
                num_out,
                max(0, num_in - num_out),
                (perf_counter() - started_s) * 1e3,
                level,
                reason,
            )
            span.set_attribute("num_kept", report.num_kept)
            span.set_attribute("num_removed", report.num_removed)
            if level:
                span.set_attribute("fallback", level)
                span.set_attribute("reason", reason)
        self._metrics.record(each, report)
        return state, report


class _PipelineMetrics:
    def __init__(self, metrics: Metrics) -> None:
        self._seconds = metrics.histogram("pipeline_stage_duration_seconds", "Time in a stage.", ("stage",))
        self._items = metrics.counter("pipeline_items_total", "Items by stage.", ("stage", "outcome"))
        self._degraded = metrics.counter(
            "pipeline_degraded_total", "Stages replaced by a fallback.", ("component", "reason", "level")
        )

    def record(self, each: PipelineStage[S], report: StageReport) -> None:
        self._seconds.labels(each.name).observe(report.duration_ms / 1e3)
        self._items.labels(each.name, "kept").inc(report.num_kept)
        self._items.labels(each.name, "removed").inc(report.num_removed)
        if report.fallback:
            self._degraded.labels(each.component, report.error, report.fallback).inc()


async def _advance(each: PipelineStage[S], state: S, deadline: Deadline) -> tuple[S, str, str]:
    """(next state, level, reason); level and reason are "" when the stage itself did it."""
    try:
        if not each.is_run_late:
            deadline.check(f"stage {each.name}")
        return await _run_within(each.function, state, each.until(deadline), each), "", ""
    except Exception as error:
        if not each.fallbacks:
            raise
        _log_bug(each.name, error)
        next_state, level = await _fall_back(each, state, deadline, error)
        return next_state, level, reason_of(error)
    finally:
        set_current_deadline(deadline)


async def _fall_back(each: PipelineStage[S], state: S, deadline: Deadline, cause: Exception) -> tuple[S, str]:
    last = cause
    for fallback in each.fallbacks:
        try:
            return await _run_within(fallback.function, state, deadline, each), fallback.level
        except Exception as error:
            _log_bug(f"{each.name} or else {fallback.level}", error)
            last = error
    raise cause from last


async def _run_within(function: StageFunction[S], state: S, deadline: Deadline, each: PipelineStage[S]) -> S:
    """Raises: DeadlineExceeded when `function` was cut off; one that never waits is never cut off."""
    set_current_deadline(deadline)
    scope = asyncio.timeout(deadline.remaining_s())
    try:
        async with scope:
            result = function(state)
            return await result if inspect.isawaitable(result) else result
    except TimeoutError as error:
        if not scope.expired():
            raise
        raise DeadlineExceeded(f"stage {each.name} did not end in time") from error


def _log_bug(name: str, error: Exception) -> None:
    if not isinstance(error, CorkboardError):
        get_logger(__name__).error("stage_failed", stage=name, exc_info=error)
