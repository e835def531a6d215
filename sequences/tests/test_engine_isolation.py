"""Executors that break their contract or never come back harm their own rows only, in bounded time."""

import threading
import time
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from sequences.engine.executor import ExecutorResult
from sequences.engine.isolation import MAX_TIMEOUTS
from sequences.testing import events_batch
from sequences.tests.test_engine import engine_with, number

ONE = pa.array([1], pa.int64())
NULL = pa.array([None], pa.int64())


def answering(answer: ExecutorResult, _: pa.RecordBatch) -> ExecutorResult:
    return answer


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (ExecutorResult({"x": pa.chunked_array([[1]])}), "ChunkedArray"),
        (ExecutorResult({"x": pa.nulls(1)}), "type null"),
        (ExecutorResult({"x": ONE}, failures={0.5: "half a row"}), "0.5"),  # type: ignore[dict-item]
        (ExecutorResult({"x": ONE}, failures={0: None}), "None"),  # type: ignore[dict-item]
        (ExecutorResult({"x": ONE}, failures={-1: "before the first"}), "-1"),
        (ExecutorResult({"x": ONE}, missing=np.ones(1, np.bool_)), "said to be missing"),
        (ExecutorResult({"x": ONE}, keep=np.ones(1)), "mask keep"),  # type: ignore[arg-type]
        (ExecutorResult({"x": ONE}, keep=[True]), "AttributeError"),  # type: ignore[arg-type]
        (None, "AttributeError"),
    ],
)
async def test_an_answer_against_the_contract_fails_the_row_and_says_why(answer: Any, reason: str) -> None:
    result = await engine_with(lambda _: answer).run(events_batch([{}]))
    assert result.batch.num_rows == 0
    [failure] = result.failures
    assert reason in failure.reason


async def test_nulls_are_allowed_in_rows_that_are_missing_or_not() -> None:
    for missing in (None, np.ones(1, np.bool_)):
        engine = engine_with(partial(answering, ExecutorResult({"x": NULL}, missing=missing)))
        result = await engine.run(events_batch([{}]))
        assert result.batch.column("x").to_pylist() == [None]


async def test_an_executor_that_is_always_too_slow_ends_in_bounded_time() -> None:
    calls = 0
    is_over = threading.Event()

    def work(batch: pa.RecordBatch) -> ExecutorResult:
        nonlocal calls
        calls += 1
        is_over.wait()
        return number(batch)

    try:
        result = await engine_with(work, timeout_s=0.005).run(events_batch([{"event_id": str(n)} for n in range(256)]))
    finally:
        is_over.set()
    assert len(result.failures) == 256
    assert result.batch.num_rows == 0
    assert calls <= MAX_TIMEOUTS + 1  # once together with all steps, then in parts
    assert "not tried" in result.failures[-1].reason


async def test_steps_say_what_went_in_and_what_came_of_it() -> None:
    def work(batch: pa.RecordBatch) -> ExecutorResult:
        ids = batch.column("event_id").to_pylist()
        if "poison" in ids:
            raise RuntimeError("bad")
        return ExecutorResult(number(batch).columns, np.array([each != "drop" for each in ids]))

    rows = ["a", "poison", "drop", "b"]
    result = await engine_with(work).run(events_batch([{"event_id": each} for each in rows]))
    [step] = result.steps
    assert (step.num_in, step.num_kept, step.num_failed) == (4, 2, 1)
    assert step.duration_s > 0
    assert result.filtered == {"step": 1}


async def test_an_executor_that_gets_no_cpu_is_waited_for_and_one_that_never_comes_back_is_not() -> None:
    def work(batch: pa.RecordBatch) -> ExecutorResult:
        time.sleep({"starved": 0.3, "stuck": 2.0}[batch.column("event_id")[0].as_py()])
        return number(batch)

    engine = engine_with(work, timeout_s=0.1)
    assert not (await engine.run(events_batch([{"event_id": "starved"}]))).failures
    [failure] = (await engine.run(events_batch([{"event_id": "stuck"}]))).failures
    assert failure.reason == "TimeoutError: took longer than 0.1 s"
