"""Executor: text as encoders and matchers compare it."""

import pyarrow as pa
import pyarrow.compute as pc

from sequences.definitions.enrichment import Enrichment
from sequences.engine.executor import ExecutorResult, Lookups, Step
from sequences.engine.signature import check_pairs, check_parameters


class NormaliseText:
    """For each column read, writes it in Unicode NFKC, lower case, with single spaces and no control characters."""

    name = "normalise_text"
    lookup_column = ""

    def check(self, enrichment: Enrichment) -> list[str]:
        return check_parameters(enrichment, {}) + check_pairs(enrichment, "string")

    def run(self, batch: pa.RecordBatch, step: Step, lookups: Lookups) -> ExecutorResult:  # noqa: ARG002
        return ExecutorResult(
            {field.name: normalise(batch.column(source)) for source, field in zip(step.reads, step.writes, strict=True)}
        )


def normalise(texts: pa.Array) -> pa.Array:
    """Null stays null."""
    plain = pc.utf8_lower(pc.utf8_normalize(texts, form="NFKC"))
    spaced = pc.replace_substring_regex(plain, r"[\pC\pZ\s]+", " ")
    return pc.utf8_trim(spaced, " ")
