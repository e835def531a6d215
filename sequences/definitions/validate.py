"""Finds every fault in a set of definitions before anything runs with it."""

from collections.abc import Iterator, Mapping

import pyarrow as pa
import pyarrow.compute as pc

from chassis.errors import Invalid
from sequences.definitions.columns import arrow_type, input_schema
from sequences.definitions.definitions import Definitions
from sequences.definitions.dependencies import in_order
from sequences.definitions.enrichment import Enrichment, Subject
from sequences.definitions.problem import Problem
from sequences.definitions.sequence import Filter, Sequence
from sequences.engine.executor import Executor
from sequences.engine.registry import EXECUTORS

MAX_UTILITY_WEIGHT = 100.0
SUBJECTS: tuple[Subject, ...] = ("event", "pin")


def check(definitions: Definitions, executors: Mapping[str, Executor] = EXECUTORS) -> None:
    """Raises: Invalid listing every problem."""
    problems = validate(definitions, executors)
    if problems:
        raise Invalid("; ".join(map(str, problems)), field=problems[0].where, reason=problems[0].code)


def validate(definitions: Definitions, executors: Mapping[str, Executor] = EXECUTORS) -> list[Problem]:
    """Every problem, in a stable order; empty = valid."""
    problems: list[Problem] = []
    problems.extend(_misnamed(definitions))
    problems.extend(_event_types(definitions))
    for subject in SUBJECTS:
        problems.extend(_enrichments(definitions, subject, executors))
    for sequence in definitions.sequences.values():
        problems.extend(_sequence(definitions, sequence))
    problems.extend(_surfaces(definitions))
    problems.extend(_spacing(definitions))
    return problems


def _misnamed(definitions: Definitions) -> Iterator[Problem]:
    for room in ("events", "enrichments", "sequences", "surfaces", "spacing"):
        for key, definition in getattr(definitions, room).items():
            if definition.name != key:
                yield Problem(f"{room}/{key}", "misnamed", f"is stored under {key!r} but named {definition.name!r}")


def _event_types(definitions: Definitions) -> Iterator[Problem]:
    types: dict[str, tuple[str, str]] = {}
    for event in definitions.events.values():
        for attribute in event.attributes:
            first = types.setdefault(attribute.name, (event.name, attribute.type))
            if first[1] != attribute.type:
                yield Problem(
                    f"events/{event.name}",
                    "column_type_conflict",
                    f"attribute {attribute.name!r} is {attribute.type} here and {first[1]} in {first[0]}",
                )


def _enrichments(definitions: Definitions, subject: Subject, executors: Mapping[str, Executor]) -> Iterator[Problem]:
    enrichments = [each for each in definitions.enrichments.values() if each.subject == subject]
    given = input_schema(subject)
    columns: dict[str, pa.DataType] = {field.name: field.type for field in given}
    writer: dict[str, str] = dict.fromkeys(columns, "the envelope itself")
    for each in enrichments:
        for column in each.writes:
            if column.name in writer:
                code = (
                    "column_written_twice"
                    if columns[column.name] == arrow_type(column.type)
                    else "column_type_conflict"
                )
                yield Problem(
                    f"enrichments/{each.name}",
                    code,
                    f"column {column.name!r} ({column.type}) is already written by {writer[column.name]} "
                    f"({columns[column.name]})",
                )
            writer.setdefault(column.name, each.name)
            columns.setdefault(column.name, arrow_type(column.type))
    for each in enrichments:
        yield from _enrichment(definitions, each, columns, executors)
    try:
        in_order(enrichments)
    except Invalid as error:
        yield Problem(f"enrichments/{error.field}", "cycle", error.message)


def _enrichment(
    definitions: Definitions,
    enrichment: Enrichment,
    columns: Mapping[str, pa.DataType],
    executors: Mapping[str, Executor],
) -> Iterator[Problem]:
    where = f"enrichments/{enrichment.name}"
    executor = executors.get(enrichment.executor)
    if executor is None:
        yield Problem(
            where, "unknown_executor", f"executor {enrichment.executor!r} is none of {', '.join(sorted(executors))}"
        )
    else:
        yield from (Problem(where, "bad_signature", text) for text in executor.check(enrichment))
    for name in enrichment.reads:
        if name not in columns:
            yield Problem(where, "unknown_column", f"reads column {name!r}, which nobody writes")
    for name in enrichment.event_types:
        if name not in definitions.events:
            yield Problem(where, "unknown_event_type", f"applies to unknown event type {name!r}")
    if enrichment.on_missing == "default" and any(column.default is None for column in enrichment.writes):
        yield Problem(where, "missing_default", "on_missing = default needs a default for every column")


def _sequence(definitions: Definitions, sequence: Sequence) -> Iterator[Problem]:
    where = f"sequences/{sequence.name}"
    columns: dict[str, pa.DataType] = {field.name: field.type for field in input_schema("event")}
    for each in definitions.enrichments.values():
        if each.subject == "event":
            columns.update({column.name: arrow_type(column.type) for column in each.writes})
    for name in sequence.event_types:
        if name not in definitions.events:
            yield Problem(where, "unknown_event_type", f"unknown event type {name!r}")
    for name in (*sequence.columns, sequence.dedupe_key):
        if name not in columns:
            yield Problem(where, "unknown_column", f"reads column {name!r}, which nobody writes")
    yield from _filters(where, sequence, columns)
    if len(set(sequence.columns)) != len(sequence.columns):
        yield Problem(where, "column_written_twice", "names a column twice")


def _filters(where: str, sequence: Sequence, columns: Mapping[str, pa.DataType]) -> Iterator[Problem]:
    for condition in sequence.filters:
        if condition.column not in columns:
            yield Problem(where, "filter_on_missing_column", f"filters on missing column {condition.column!r}")
        elif not _is_comparable(condition, columns[condition.column]):
            yield Problem(
                where,
                "filter_type_mismatch",
                f"filter {condition.column} {condition.operator} {condition.value!r} cannot be decided: the column is "
                f"{columns[condition.column]}",
            )


def _is_comparable(condition: Filter, column: pa.DataType) -> bool:
    is_list = isinstance(condition.value, list)
    if is_list != (condition.operator == "in") and condition.operator != "in":
        return False
    values = condition.value if isinstance(condition.value, list) else [condition.value]
    if not values or any(value is None for value in values):
        return False
    try:
        pa.array(values).cast(column)
        pc.less(pa.nulls(1, column), pa.scalar(values[0]))
    except pa.ArrowException:
        return False
    return True


def _surfaces(definitions: Definitions) -> Iterator[Problem]:
    for surface in definitions.surfaces.values():
        where = f"surfaces/{surface.name}"
        names = [share.name for share in surface.generators]
        if len(set(names)) != len(names):
            yield Problem(where, "duplicate_generator", "names a generator twice")
        for action, weight in surface.utility_weights.items():
            if abs(weight) > MAX_UTILITY_WEIGHT:
                yield Problem(where, "weight_out_of_range", f"utility weight of {action} is {weight}")


def _spacing(definitions: Definitions) -> Iterator[Problem]:
    for spacing in definitions.spacing.values():
        for name in spacing.surfaces:
            if name not in definitions.surfaces:
                yield Problem(f"spacing/{spacing.name}", "unknown_surface", f"unknown surface {name!r}")
