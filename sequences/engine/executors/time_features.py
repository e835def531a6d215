"""Executor: when an event happened, as features."""

import numpy as np
import pyarrow as pa

from sequences.definitions.enrichment import Enrichment
from sequences.engine.executor import ExecutorResult, Lookups, Step
from sequences.engine.signature import check_parameters, check_reads, check_writes

HOUR_MS = 3_600_000
WRITABLE = {"hour_of_day": "int32", "day_of_week": "int32", "pin_age_h": "float32"}
EPOCH_WEEKDAY = 3  # 1 January 1970 was a Thursday; Monday = 0


class TimeFeatures:
    """Hour 0..23 and weekday 0..6 (Monday = 0) in UTC; age of the pin in hours, null when unknown, never negative."""

    name = "time_features"
    lookup_column = ""

    def check(self, enrichment: Enrichment) -> list[str]:
        problems = check_parameters(enrichment, {})
        problems += check_reads(enrichment, ("event_time_ms", "pin_created_time_ms"))
        return problems + check_writes(enrichment, WRITABLE)

    def run(self, batch: pa.RecordBatch, step: Step, lookups: Lookups) -> ExecutorResult:  # noqa: ARG002
        time_ms = batch.column("event_time_ms").to_numpy(zero_copy_only=False)
        created = batch.column("pin_created_time_ms")
        created_ms = created.fill_null(0).to_numpy(zero_copy_only=False)
        hours = time_ms // HOUR_MS
        columns = {
            "hour_of_day": pa.array((hours % 24).astype(np.int32)),
            "day_of_week": pa.array(((hours // 24 + EPOCH_WEEKDAY) % 7).astype(np.int32)),
            "pin_age_h": pa.array(
                np.maximum((time_ms - created_ms) / HOUR_MS, 0.0).astype(np.float32),
                mask=created.is_null().to_numpy(zero_copy_only=False),
            ),
        }
        return ExecutorResult({field.name: columns[field.name] for field in step.writes})
