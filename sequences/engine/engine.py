"""Runs the enrichments of a plan over Arrow batches, the same way in every runtime."""

import asyncio
import time
from collections.abc import Mapping

import pyarrow as pa

from chassis.errors import Invalid, Unavailable
from sequences.engine.executor import ExecutorResult, Lookups
from sequences.engine.isolation import Isolation
from sequences.engine.lookup import CachedLookup, NoLookups
from sequences.engine.observer import Observer, SilentObserver
from sequences.engine.plan import Plan, PlannedStep
from sequences.engine.result import EngineResult, StepRun
from sequences.engine.result_check import check_result
from sequences.engine.work import Work

MAX_CONCURRENCY = 4  # batches in hand at once: enough to hide a look-up behind the next batch's work
LookupsByStep = Mapping[str, Lookups]


class Engine:
    """Owns order, concurrency, look-ups, time limits and the isolation of poison rows; executors own the logic.

    A batch goes through all steps in one hop to a thread. Only when a step raises, or takes too long, does the batch
    start again with every step isolated: executors are pure, so the good rows come out the same.
    """

    def __init__(
        self,
        plan: Plan,
        lookup: CachedLookup | None = None,
        *,
        observer: Observer | None = None,
        max_concurrency: int = MAX_CONCURRENCY,
    ) -> None:
        self.plan = plan
        self._lookup = lookup or CachedLookup(NoLookups())
        self._observer = observer or SilentObserver()
        self._isolation = Isolation(max_concurrency)
        self._slots = asyncio.Semaphore(max_concurrency)
        self._timeout_s = sum(planned.timeout_s for planned in plan.steps)

    async def run(self, batch: pa.RecordBatch) -> EngineResult:
        """Every row is enriched, filtered by a named step, or failed with a reason; order is kept.

        Raises: Invalid when the columns are not those of the plan; Unavailable when a look-up that may not be
        missing cannot be asked.
        """
        given = _conformed(batch, self.plan.input_schema)
        async with self._slots:
            lookups = await self._look_up(given)
            try:
                result = await self._isolation.call(self._timeout_s, run_steps, self.plan, given, lookups)
            except Unavailable:
                raise
            except Exception:  # whichever row or step it was: the isolated way finds and names it
                result = await self._run_isolated(given, lookups)
        for run in result.steps:
            self._observer.on_step(run)
        return result

    def close(self) -> None:
        """Free the threads."""
        self._isolation.close()

    async def _look_up(self, batch: pa.RecordBatch) -> LookupsByStep:
        """One look-up per step that needs one, for the rows it applies to."""
        lookups = {}
        for planned in self.plan.steps:
            column = planned.executor.lookup_column
            lookups[planned.name] = Lookups(self.plan.event_types)
            if not column:
                continue
            work = Work(batch)
            part = work.part(planned, work.rows_for(planned))
            keys = [key for key in part.column(column).unique().to_pylist() if key]
            rows, is_available = await self._lookup.get(keys, planned.timeout_s)
            if not is_available and planned.on_missing == "park":
                raise Unavailable(f"enrichment {planned.name!r} cannot look up {len(keys)} keys")
            lookups[planned.name] = Lookups(self.plan.event_types, rows, is_available)
        return lookups

    async def _run_isolated(self, batch: pa.RecordBatch, lookups: LookupsByStep) -> EngineResult:
        work = Work(batch)
        runs = []
        for planned in self.plan.steps:
            started_s = time.perf_counter()
            positions = work.rows_for(planned)
            result = _empty(planned)
            if len(positions):
                result = await self._isolation.run(planned, work.part(planned, positions), lookups[planned.name])
            num_kept, num_failed = work.apply(planned, positions, result)
            runs.append(_step_run(planned, len(positions), num_kept, num_failed, started_s))
        return work.finish(self.plan.output_schema, runs)


def run_steps(plan: Plan, batch: pa.RecordBatch, lookups: LookupsByStep) -> EngineResult:
    """All steps in the calling thread. Raises: what an executor raises, BadResultError."""
    work = Work(batch)
    runs = []
    for planned in plan.steps:
        started_s = time.perf_counter()
        positions = work.rows_for(planned)
        result = _empty(planned)
        if len(positions):
            result = planned.executor.run(work.part(planned, positions), planned.step, lookups[planned.name])
            check_result(result, planned, len(positions))
        num_kept, num_failed = work.apply(planned, positions, result)
        runs.append(_step_run(planned, len(positions), num_kept, num_failed, started_s))
    return work.finish(plan.output_schema, runs)


def _empty(planned: PlannedStep) -> ExecutorResult:
    return ExecutorResult({field.name: pa.nulls(0, field.type) for field in planned.step.writes})


def _step_run(planned: PlannedStep, num_in: int, num_kept: int, num_failed: int, started_s: float) -> StepRun:
    return StepRun(
        planned.name,
        planned.executor.name,
        num_in,
        num_kept,
        num_failed,
        time.perf_counter() - started_s,
        tuple(field.name for field in planned.step.writes),
    )


def _conformed(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    for field in schema:
        index = batch.schema.get_field_index(field.name)
        if index < 0 or batch.schema.field(index).type != field.type:
            found = "absent" if index < 0 else str(batch.schema.field(index).type)
            raise Invalid(
                f"column {field.name!r} must be {field.type}, is {found}", field=field.name, reason="bad_schema"
            )
    return batch.select(schema.names)
