"""Executor: parse the attributes of each event by its type's schema into typed columns."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from chassis.errors import Invalid
from sequences.definitions.attributes import parse_attributes
from sequences.definitions.enrichment import Enrichment
from sequences.definitions.event_type import EventType
from sequences.engine.executor import ExecutorResult, Lookups, Step
from sequences.engine.signature import check_parameters, check_reads

Parsed = Mapping[str, Any] | str
"""Values by attribute, or why there are none."""


class ValidateSchema:
    """Writes one column per attribute named in `writes`; a row against its schema fails."""

    name = "validate_schema"
    lookup_column = ""

    def check(self, enrichment: Enrichment) -> list[str]:
        return check_parameters(enrichment, {}) + check_reads(enrichment, ("event_type", "attributes"))

    def run(self, batch: pa.RecordBatch, step: Step, lookups: Lookups) -> ExecutorResult:
        """Each distinct pair of type and content is parsed once, then spread over its rows."""
        types = pc.dictionary_encode(batch.column("event_type"))
        contents = pc.dictionary_encode(batch.column("attributes"))
        pairs = types.indices.to_numpy().astype(np.int64) * len(contents.dictionary) + contents.indices.to_numpy()
        distinct, place = np.unique(pairs, return_inverse=True)
        names, texts = types.dictionary.to_pylist(), contents.dictionary.to_pylist()
        parsed = [
            _parsed(lookups.event_types, names[pair // len(texts)], texts[pair % len(texts)])
            for pair in distinct.tolist()
        ]
        values = [{} if isinstance(each, str) else each for each in parsed]
        columns = {
            field.name: pa.array([each.get(field.name) for each in values], field.type).take(pa.array(place))
            for field in step.writes
        }
        has_failed = np.fromiter((isinstance(each, str) for each in parsed), np.bool_, len(parsed))[place]
        return ExecutorResult(
            columns, failures={int(row): str(parsed[place[row]]) for row in np.flatnonzero(has_failed)}
        )


def _parsed(event_types: Mapping[str, EventType], name: str, content: bytes) -> Parsed:
    event_type = event_types.get(name)
    if event_type is None:
        return f"unknown event type {name!r}"
    try:
        return parse_attributes(event_type, content)
    except Invalid as error:
        return f"{error.reason}: {error.message}"
