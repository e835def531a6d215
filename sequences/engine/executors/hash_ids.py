"""Executor: ids as numbers, for models and joins that need no text."""

import numpy as np
import pyarrow as pa

from sequences.definitions.enrichment import Enrichment
from sequences.engine.executor import ExecutorResult, Lookups, Step
from sequences.engine.signature import check_pairs, check_parameters
from sequences.engine.stable_hash import hash_texts


class HashIds:
    """For each column read, writes a stable hash in [0, num_buckets); 0 buckets = 63 bits."""

    name = "hash_ids"
    lookup_column = ""

    def check(self, enrichment: Enrichment) -> list[str]:
        problems = check_parameters(enrichment, {"num_buckets": int})
        buckets = enrichment.parameters.get("num_buckets", 0)
        if isinstance(buckets, int) and buckets < 0:
            problems.append("num_buckets must not be negative")
        return problems + check_pairs(enrichment, "int64")

    def run(self, batch: pa.RecordBatch, step: Step, lookups: Lookups) -> ExecutorResult:  # noqa: ARG002
        num_buckets = int(step.parameters.get("num_buckets", 0))
        return ExecutorResult(
            {
                field.name: _in_buckets(hash_texts(batch.column(source)), num_buckets)
                for source, field in zip(step.reads, step.writes, strict=True)
            }
        )


def _in_buckets(hashes: pa.Array, num_buckets: int) -> pa.Array:
    if not num_buckets:
        return hashes
    is_null = hashes.is_null().to_numpy(zero_copy_only=False)
    numbers = hashes.fill_null(0).to_numpy(zero_copy_only=False)
    return pa.array(np.remainder(numbers, num_buckets), pa.int64(), mask=is_null)
