"""Executor: parse the attributes of each event by its type's schema into typed columns."""

from typing import Any

import pyarrow as pa

from chassis.errors import Invalid
from sequences.definitions.attributes import parse_attributes
from sequences.definitions.enrichment import Enrichment
from sequences.engine.executor import ExecutorResult, Lookups, Step
from sequences.engine.signature import check_parameters, check_reads


class ValidateSchema:
    """Writes one column per attribute named in `writes`; a row against its schema fails."""

    name = "validate_schema"
    lookup_column = ""

    def check(self, enrichment: Enrichment) -> list[str]:
        return check_parameters(enrichment, {}) + check_reads(enrichment, ("event_type", "attributes"))

    def run(self, batch: pa.RecordBatch, step: Step, lookups: Lookups) -> ExecutorResult:
        values: dict[str, list[Any]] = {field.name: [None] * batch.num_rows for field in step.writes}
        failures: dict[int, str] = {}
        types = batch.column("event_type").to_pylist()
        for row, content in enumerate(batch.column("attributes").to_pylist()):
            event_type = lookups.event_types.get(types[row])
            if event_type is None:
                failures[row] = f"unknown event type {types[row]!r}"
                continue
            try:
                parsed = parse_attributes(event_type, content)
            except Invalid as error:
                failures[row] = f"{error.reason}: {error.message}"
                continue
            for name, value in parsed.items():
                if name in values:
                    values[name][row] = value
        return ExecutorResult(
            {field.name: pa.array(values[field.name], field.type) for field in step.writes}, failures=failures
        )
