"""Executor: what is known about the pin of each event, from the rows fetched for the envelope."""

from bisect import bisect_right
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sequences.definitions.enrichment import Enrichment
from sequences.engine.executor import ExecutorResult, Lookups, Step
from sequences.engine.signature import check_parameters, check_reads, check_writes

WRITABLE = {
    "pin_topics": "list<string>",
    "pin_advertiser_id": "string",
    "pin_creator_id": "string",
    "pin_price_band": "int32",
    "pin_created_time_ms": "int64",
    "pin_content_group": "string",
    "pin_content_vector_version": "string",
    "pin_semantic_id": "list<int32>",
}


class LookupPin:
    """Writes any of WRITABLE. A price falls in band i = number of `price_bands_micros` that it reaches."""

    name = "lookup_pin"
    lookup_column = "pin_id"

    def check(self, enrichment: Enrichment) -> list[str]:
        problems = check_parameters(enrichment, {"price_bands_micros": list})
        bands = enrichment.parameters.get("price_bands_micros", [])
        if isinstance(bands, list):
            numbers = [band for band in bands if isinstance(band, int) and not isinstance(band, bool)]
            if numbers != bands or numbers != sorted(numbers):
                problems.append("price_bands_micros must be whole numbers in growing order")
        return problems + check_reads(enrichment, ("pin_id",)) + check_writes(enrichment, WRITABLE)

    def run(self, batch: pa.RecordBatch, step: Step, lookups: Lookups) -> ExecutorResult:
        """Each distinct pin is worked on once, then spread over its rows."""
        pins = pc.dictionary_encode(batch.column("pin_id"))
        rows = [lookups.rows.get(pin_id) for pin_id in pins.dictionary.to_pylist()]
        bands = list(step.parameters.get("price_bands_micros", ()))
        columns = {
            field.name: pa.array(
                [None if row is None else _value(field.name, row, bands) for row in rows], field.type
            ).take(pins.indices)
            for field in step.writes
        }
        is_unknown = np.fromiter((row is None for row in rows), np.bool_, len(rows))
        return ExecutorResult(columns, missing=is_unknown[pins.indices.to_numpy(zero_copy_only=False)])


def _value(column: str, row: Mapping[str, Any], bands: list[int]) -> Any:
    if column == "pin_price_band":
        return bisect_right(bands, row.get("price_micros") or 0)
    value = row.get(column.removeprefix("pin_"))
    if column in ("pin_created_time_ms", "pin_content_vector_version", "pin_semantic_id"):
        return value or None  # nobody said, or nobody made one
    return value
