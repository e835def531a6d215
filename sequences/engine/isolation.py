"""Runs an executor where it can do no harm: off the event loop, with a time limit, and checked; poison is cut out."""

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from chassis.errors import Unavailable
from sequences.engine.executor import ExecutorResult, Lookups
from sequences.engine.plan import PlannedStep

MAX_REASON_LENGTH = 500
T = TypeVar("T")


class BadResultError(Exception):
    """An executor returned what its contract forbids."""


class Isolation:
    """A few threads for executors. A thread whose executor never returns is given up and replaced."""

    def __init__(self, num_threads: int) -> None:
        self._num_threads = num_threads
        self._threads = self._new_threads()

    async def call(self, timeout_s: float, function: Callable[..., T], *arguments: Any) -> T:
        """What the function returns or raises. Raises: TimeoutError, or Unavailable after `close`."""
        loop = asyncio.get_running_loop()
        try:
            call = loop.run_in_executor(self._threads, function, *arguments)
        except RuntimeError as error:  # the rows are not at fault
            raise Unavailable(f"engine is closed: {error}") from error
        try:
            async with asyncio.timeout(timeout_s):
                return await call
        except TimeoutError as error:
            self._threads.shutdown(wait=False)
            self._threads = self._new_threads()
            raise TimeoutError(f"took longer than {timeout_s} s") from error

    async def run(self, planned: PlannedStep, batch: pa.RecordBatch, lookups: Lookups) -> ExecutorResult:
        """The result for every row; a batch that raises is halved until the poison rows stand alone as failures.

        Raises: Unavailable after `close`.
        """
        try:
            return await self._attempt(planned, batch, lookups)
        except Unavailable:
            raise
        except Exception as error:
            if batch.num_rows <= 1:
                return _failed(planned, batch.num_rows, _reason(error))
        middle = batch.num_rows // 2
        first = await self.run(planned, batch.slice(0, middle), lookups)
        second = await self.run(planned, batch.slice(middle), lookups)
        return _joined(planned, (first, middle), (second, batch.num_rows - middle))

    def close(self) -> None:
        """Free the threads that are idle."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _attempt(self, planned: PlannedStep, batch: pa.RecordBatch, lookups: Lookups) -> ExecutorResult:
        result = await self.call(planned.timeout_s, planned.executor.run, batch, planned.step, lookups)
        check_result(result, planned, batch.num_rows)
        return result

    def _new_threads(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self._num_threads, thread_name_prefix="executor")


def check_result(result: ExecutorResult, planned: PlannedStep, num_rows: int) -> None:
    """Raises: BadResultError unless columns, types, row counts and masks are as the contract says."""
    expected = {field.name: field.type for field in planned.step.writes}
    if result.columns.keys() != expected.keys():
        raise BadResultError(f"wrote columns {sorted(result.columns)}, not {sorted(expected)}")
    for name, column in result.columns.items():
        if column.type != expected[name]:
            raise BadResultError(f"column {name!r} has type {column.type}, not {expected[name]}")
        if len(column) != num_rows:
            raise BadResultError(f"column {name!r} has {len(column)} values for {num_rows} rows")
    for what, mask in (("keep", result.keep), ("missing", result.missing)):
        if mask is not None and (mask.shape != (num_rows,) or mask.dtype != np.bool_):
            raise BadResultError(f"mask {what} has shape {mask.shape} and type {mask.dtype} for {num_rows} rows")
    if any(not 0 <= row < num_rows for row in result.failures):
        raise BadResultError(f"failures name rows outside of 0..{num_rows - 1}")


def _failed(planned: PlannedStep, num_rows: int, reason: str) -> ExecutorResult:
    columns = {field.name: pa.nulls(num_rows, field.type) for field in planned.step.writes}
    return ExecutorResult(columns, failures=dict.fromkeys(range(num_rows), reason))


def _joined(planned: PlannedStep, *parts: tuple[ExecutorResult, int]) -> ExecutorResult:
    results = [result for result, _ in parts]
    columns: Mapping[str, pa.Array] = {
        field.name: pa.concat_arrays([result.columns[field.name] for result in results])
        for field in planned.step.writes
    }
    keep = np.concatenate([np.ones(size, np.bool_) if each.keep is None else each.keep for each, size in parts])
    missing = np.concatenate(
        [np.zeros(size, np.bool_) if each.missing is None else each.missing for each, size in parts]
    )
    failures: dict[int, str] = {}
    offset = 0
    for result, size in parts:
        failures.update({row + offset: reason for row, reason in result.failures.items()})
        offset += size
    return ExecutorResult(columns, keep, failures, missing)


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:MAX_REASON_LENGTH]
