"""Which executors run on a batch, in which order, and what comes out."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from chassis.errors import Invalid
from sequences.definitions.columns import field_of, input_schema, written_fields
from sequences.definitions.definitions import Definitions
from sequences.definitions.dependencies import in_order
from sequences.definitions.enrichment import Enrichment, OnMissing, Subject
from sequences.definitions.event_type import EventType
from sequences.engine.executor import Executor, Step
from sequences.engine.registry import EXECUTORS


@dataclass(frozen=True)
class PlannedStep:
    """One enrichment, ready to run."""

    name: str
    executor: Executor
    step: Step
    event_types: pa.Array | None
    """Rows it applies to by event type; None = all."""
    timeout_s: float
    on_missing: OnMissing
    defaults: Mapping[str, Any]


@dataclass(frozen=True)
class Plan:
    """Every step for one subject, in order."""

    steps: tuple[PlannedStep, ...]
    event_types: Mapping[str, EventType]
    input_schema: pa.Schema
    output_schema: pa.Schema
    definitions_version: str


def plan_for(
    definitions: Definitions, subject: Subject = "event", executors: Mapping[str, Executor] = EXECUTORS
) -> Plan:
    """The plan of these definitions. Raises: Invalid for an unknown executor, a wrong signature or a cycle."""
    enrichments = [each for each in definitions.enrichments.values() if each.subject == subject]
    given = input_schema(subject)
    return Plan(
        steps=tuple(_planned(each, executors) for each in in_order(enrichments)),
        event_types=definitions.events,
        input_schema=given,
        output_schema=pa.schema([*given, *written_fields(definitions, subject)]),
        definitions_version=definitions.version,
    )


def _planned(enrichment: Enrichment, executors: Mapping[str, Executor]) -> PlannedStep:
    executor = executors.get(enrichment.executor)
    if executor is None:
        raise Invalid(
            f"enrichment {enrichment.name!r} needs executor {enrichment.executor!r}, which this version does not have",
            field=enrichment.name,
            reason="unknown_executor",
        )
    problems = executor.check(enrichment)
    if problems:
        raise Invalid(
            f"enrichment {enrichment.name!r} {'; '.join(problems)}", field=enrichment.name, reason="bad_signature"
        )
    if executor.lookup_column and executor.lookup_column not in input_schema(enrichment.subject).names:
        raise Invalid(
            f"enrichment {enrichment.name!r} looks up column {executor.lookup_column!r}, which must be there "
            f"before any enrichment",
            field=enrichment.name,
            reason="bad_signature",
        )
    fields = tuple(field_of(column) for column in enrichment.writes)
    return PlannedStep(
        name=enrichment.name,
        executor=executor,
        step=Step(enrichment.reads, fields, enrichment.parameters),
        event_types=pa.array(enrichment.event_types, pa.string()) if enrichment.event_types else None,
        timeout_s=enrichment.timeout_s,
        on_missing=enrichment.on_missing,
        defaults={column.name: column.default for column in enrichment.writes},
    )
