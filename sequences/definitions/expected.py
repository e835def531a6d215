"""Which accepted events should come to be readable, by the definitions alone: no look-up, no store, no clock."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sequences.engine.engine import run_steps
from sequences.engine.executor import Lookups
from sequences.engine.plan import Plan


@dataclass(frozen=True)
class Expected:
    """`kept`: enriched rows that no filter removes, looked-up columns null. `failed`: rows that no runtime can enrich.

    num_filtered + kept.num_rows + failed.num_rows = rows given.
    """

    kept: pa.RecordBatch
    failed: pa.RecordBatch
    num_filtered: int


def expected(plan: Plan, accepted: pa.RecordBatch) -> Expected:
    """Run every enrichment of events without look-ups; rows that raise are tried alone."""
    lookups = {step.name: Lookups(plan.event_types) for step in plan.steps}
    try:
        return _split(plan, accepted, lookups)
    except Exception:  # a poison row: whichever it is fails alone
        parts = [_one(plan, accepted.slice(row, 1), lookups) for row in range(accepted.num_rows)]
        return _joined(parts)


def _one(plan: Plan, accepted: pa.RecordBatch, lookups: Mapping[str, Lookups]) -> Expected:
    try:
        return _split(plan, accepted, lookups)
    except Exception:  # this one is the poison; the runtimes park it
        return Expected(_nothing(plan.output_schema), accepted, 0)


def _split(plan: Plan, accepted: pa.RecordBatch, lookups: Mapping[str, Lookups]) -> Expected:
    result = run_steps(plan, accepted, lookups)
    failed: NDArray[np.int64] = np.asarray([failure.row for failure in result.failures], dtype=np.int64)
    return Expected(result.batch, accepted.take(pa.array(failed)), sum(result.filtered.values()))


def _joined(parts: list[Expected]) -> Expected:
    kept = pa.concat_batches([part.kept for part in parts])
    failed = pa.concat_batches([part.failed for part in parts])
    return Expected(kept, failed, sum(part.num_filtered for part in parts))


def _nothing(schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist([], schema=schema)
