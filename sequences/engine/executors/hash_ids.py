"""Executor: ids as numbers, for models and joins that need no text."""

import hashlib

import pyarrow as pa
import pyarrow.compute as pc

from sequences.definitions.enrichment import Enrichment
from sequences.engine.executor import ExecutorResult, Lookups, Step
from sequences.engine.signature import check_pairs, check_parameters


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
                field.name: _hashed(batch.column(source), num_buckets)
                for source, field in zip(step.reads, step.writes, strict=True)
            }
        )


def _hashed(ids: pa.Array, num_buckets: int) -> pa.Array:
    encoded = pc.dictionary_encode(ids)
    hashes = pa.array([_hash(each, num_buckets) for each in encoded.dictionary.to_pylist()], pa.int64())
    return hashes.take(encoded.indices)


def _hash(text: str, num_buckets: int) -> int:
    number = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1
    return number % num_buckets if num_buckets else number
