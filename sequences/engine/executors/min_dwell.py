"""Executor: filter views that were too short to mean anything."""

import pyarrow as pa
import pyarrow.compute as pc

from sequences.definitions.enrichment import Enrichment
from sequences.engine.executor import ExecutorResult, Lookups, Step
from sequences.engine.signature import check_parameters


class MinDwell:
    """Keeps rows whose dwell time is at least `min_dwell_s` seconds, or unknown."""

    name = "min_dwell"
    lookup_column = ""

    def check(self, enrichment: Enrichment) -> list[str]:
        problems = check_parameters(enrichment, {"min_dwell_s": (int, float)}, required=("min_dwell_s",))
        return problems if len(enrichment.reads) == 1 else [*problems, "must read one column"]

    def run(self, batch: pa.RecordBatch, step: Step, lookups: Lookups) -> ExecutorResult:  # noqa: ARG002
        dwell_s = pc.cast(batch.column(step.reads[0]), pa.float64())
        is_long = pc.fill_null(pc.greater_equal(dwell_s, float(step.parameters["min_dwell_s"])), True)
        return ExecutorResult(keep=is_long.to_numpy(zero_copy_only=False))
