"""A batch on its way through the steps."""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from sequences.engine.executor import ExecutorResult
from sequences.engine.plan import PlannedStep
from sequences.engine.result import EngineResult, RowFailure, StepRun


class Work:
    """Owns the rows that are still there; every row that goes is counted."""

    def __init__(self, batch: pa.RecordBatch) -> None:
        self.batch = batch
        self.rows: NDArray[np.int64] = np.arange(batch.num_rows, dtype=np.int64)
        self.filtered: dict[str, int] = {}
        self.failures: list[RowFailure] = []

    def rows_for(self, planned: PlannedStep) -> NDArray[np.int64]:
        """Positions in the current batch that the step applies to."""
        if planned.event_types is None:
            return np.arange(self.batch.num_rows, dtype=np.int64)
        applies = pc.is_in(self.batch.column("event_type"), value_set=planned.event_types)
        return np.flatnonzero(applies.to_numpy(zero_copy_only=False))

    def part(self, planned: PlannedStep, positions: NDArray[np.int64]) -> pa.RecordBatch:
        """The rows at these positions, and only the columns that the step says it reads."""
        columns = self.batch.select(list(planned.step.reads))
        return columns if len(positions) == self.batch.num_rows else columns.take(pa.array(positions))

    def apply(self, planned: PlannedStep, positions: NDArray[np.int64], result: ExecutorResult) -> tuple[int, int]:
        """Add the columns, remove filtered and failed rows. Returns how many of the step's rows (kept, failed)."""
        self._add_columns(planned, positions, result)
        failures = dict(_missing_failures(planned, result)) | dict(result.failures)
        is_failed = np.zeros(len(positions), np.bool_)
        is_failed[list(failures)] = True
        is_kept = ~is_failed if result.keep is None else result.keep & ~is_failed
        num_filtered = int(np.count_nonzero(~is_kept & ~is_failed))
        if num_filtered:
            self.filtered[planned.name] = num_filtered
        for place, reason in sorted(failures.items()):
            self.failures.append(RowFailure(int(self.rows[positions[place]]), planned.name, reason))
        self._remove(positions[~is_kept])
        return int(np.count_nonzero(is_kept)), len(failures)

    def finish(self, schema: pa.Schema, runs: Sequence[StepRun]) -> EngineResult:
        """What is left, with the columns of `schema`."""
        return EngineResult(
            self.batch.select(schema.names), self.rows, self.filtered, tuple(self.failures), tuple(runs)
        )

    def _add_columns(self, planned: PlannedStep, positions: NDArray[np.int64], result: ExecutorResult) -> None:
        for field in planned.step.writes:
            column = _with_default(planned, field, result)
            if len(positions) != self.batch.num_rows:
                places = np.full(self.batch.num_rows, -1, dtype=np.int64)
                places[positions] = np.arange(len(positions))
                column = column.take(pa.array(places, mask=places < 0))
            self.batch = self.batch.append_column(field, column)

    def _remove(self, positions: NDArray[np.int64]) -> None:
        if len(positions):
            keep = np.ones(self.batch.num_rows, np.bool_)
            keep[positions] = False
            self.batch = self.batch.filter(pa.array(keep))
            self.rows = self.rows[keep]


def _with_default(planned: PlannedStep, field: pa.Field, result: ExecutorResult) -> pa.Array:
    column = result.columns[field.name]
    if planned.on_missing != "default" or result.missing is None or not result.missing.any():
        return column
    values = pa.array([planned.defaults[field.name]] * len(column), field.type)
    return pc.if_else(pa.array(result.missing), values, column)


def _missing_failures(planned: PlannedStep, result: ExecutorResult) -> Mapping[int, str]:
    if planned.on_missing != "park" or result.missing is None:
        return {}
    return {int(place): "look-up found nothing" for place in np.flatnonzero(result.missing)}
