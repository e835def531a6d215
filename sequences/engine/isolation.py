"""Runs an executor where it can do no harm: off the event loop, with a time limit, and checked; poison is cut out."""

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from chassis.errors import Unavailable
from sequences.engine.cpu_meter import CpuMeter
from sequences.engine.executor import ExecutorResult, Lookups
from sequences.engine.plan import PlannedStep
from sequences.engine.result_check import check_result

MAX_REASON_LENGTH = 500
MAX_TIMEOUTS = 32  # of one step on one batch: three slow rows among 512 need 30, each leaves a busy thread behind
STARVED_TIMES = 10  # as long as its time limit may a call that gets no CPU take
MIN_WAIT_S = 0.005
T = TypeVar("T")


class OutOfPatienceError(Exception):
    """An executor took too long too often; what is left of the batch is not tried."""


class Isolation:
    """A few threads for executors. A thread whose executor never returns is given up and replaced."""

    def __init__(self, num_threads: int) -> None:
        self._num_threads = num_threads
        self._threads = self._new_threads()

    async def call(self, timeout_s: float, function: Callable[..., T], *arguments: Any) -> T:
        """What the function returns or raises. Raises: TimeoutError when it has used `timeout_s` seconds of CPU, or
        has not come back after STARVED_TIMES as long; Unavailable after `close`.

        CPU time counts, because on a busy machine an innocent call may get none for seconds, and its rows would fail.
        """
        loop = asyncio.get_running_loop()
        meter = CpuMeter(function, arguments)
        try:
            call = loop.run_in_executor(self._threads, meter)
        except RuntimeError as error:  # the rows are not at fault
            raise Unavailable(f"engine is closed: {error}") from error
        give_up_s, left_s = loop.time() + STARVED_TIMES * timeout_s, timeout_s
        try:
            while left_s > 0:
                await asyncio.wait({call}, timeout=max(left_s, MIN_WAIT_S))
                if call.done():
                    return call.result()
                left_s = min(timeout_s - meter.used_s(), give_up_s - loop.time())
        finally:
            call.cancel()
        self._threads.shutdown(wait=False)
        self._threads = self._new_threads()
        raise TimeoutError(f"took longer than {timeout_s} s")

    async def run(self, planned: PlannedStep, batch: pa.RecordBatch, lookups: Lookups) -> ExecutorResult:
        """The result for every row; a batch that raises is halved until the poison rows stand alone as failures.

        When MAX_TIMEOUTS parts have taken too long, the rows that have not been tried yet fail too. Raises: Unavailable
        after `close`.
        """
        return await self._halved(planned, batch, lookups, _Patience(MAX_TIMEOUTS))

    async def _halved(
        self, planned: PlannedStep, batch: pa.RecordBatch, lookups: Lookups, patience: "_Patience"
    ) -> ExecutorResult:
        try:
            return await self._attempt(planned, batch, lookups, patience)
        except Unavailable:
            raise
        except Exception as error:
            if batch.num_rows <= 1 or isinstance(error, OutOfPatienceError):
                return _failed(planned, batch.num_rows, _reason(error))
        middle = batch.num_rows // 2
        first = await self._halved(planned, batch.slice(0, middle), lookups, patience)
        second = await self._halved(planned, batch.slice(middle), lookups, patience)
        return _joined(planned, (first, middle), (second, batch.num_rows - middle))

    def close(self) -> None:
        """Free the threads that are idle."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _attempt(
        self, planned: PlannedStep, batch: pa.RecordBatch, lookups: Lookups, patience: "_Patience"
    ) -> ExecutorResult:
        if patience.timeouts_left == 0:
            raise OutOfPatienceError(f"not tried: the executor took longer than {planned.timeout_s} s too often")
        try:
            result = await self.call(planned.timeout_s, planned.executor.run, batch, planned.step, lookups)
        except TimeoutError:
            patience.timeouts_left -= 1
            raise
        check_result(result, planned, batch.num_rows)
        return result

    def _new_threads(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self._num_threads, thread_name_prefix="executor")


@dataclass
class _Patience:
    timeouts_left: int


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
