"""Runs one executor on its own, and the strategies that its batches come from."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

from sequences.definitions.columns import field_of
from sequences.definitions.enrichment import Column
from sequences.engine.executor import ExecutorResult, Lookups, Step
from sequences.engine.plan import PlannedStep
from sequences.engine.registry import EXECUTORS
from sequences.engine.result_check import check_result

TIMES_MS = st.integers(-10_000_000_000, 4_000_000_000_000)
TEXTS = st.text(max_size=12)
NOTHING = Lookups()


def run_alone(
    executor: str,
    columns: Mapping[str, pa.Array],
    writes: Mapping[str, str],
    parameters: Mapping[str, Any],
    lookups: Lookups = NOTHING,
) -> ExecutorResult:
    """What the executor answers, checked against its contract."""
    batch = pa.record_batch(dict(columns))
    fields = tuple(field_of(Column.model_validate({"name": name, "type": kind})) for name, kind in writes.items())
    step = Step(tuple(columns), fields, parameters)
    result = EXECUTORS[executor].run(batch, step, lookups)
    check_result(result, PlannedStep(executor, EXECUTORS[executor], step, None, 1.0, "null", {}), batch.num_rows)
    return result


def in_parts(batch: Sequence[Any], borders: Sequence[int]) -> list[Sequence[Any]]:
    """The rows cut at these places."""
    cuts = sorted({border % (len(batch) + 1) for border in borders} | {0, len(batch)})
    return [batch[start:end] for start, end in itertools.pairwise(cuts)]
