"""Static analysis of valid definitions: what nobody reads, what has no bound, what costs more than it gives."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

from sequences.definitions.columns import sequence_schema
from sequences.definitions.definitions import Definitions
from sequences.definitions.enrichment import Enrichment
from sequences.definitions.sequence import Sequence
from sequences.definitions.storage_cost import can_fill, storage_cost

Severity = Literal["error", "warning", "note"]
MAX_BYTES_PER_USER = 4 << 20  # a fleet's memory is users times this
WARN_BYTES_PER_USER = 1 << 20
LONG_STRING_CHARS = 256
COSTLY_SHARE, COSTLY_BYTES = 0.3, 8.0
NEEDED = ("event_id", "event_type", "event_time_ms", "pin_id")
"""Columns that the store keeps whatever a sequence asks for."""


@dataclass(frozen=True)
class Finding:
    """`where` is "<kind>/<name>". An error is certainly wrong; a warning costs; a note is worth a look."""

    severity: Severity
    where: str
    code: str
    message: str


def lint(definitions: Definitions) -> list[Finding]:
    """Every finding of definitions that `validate` finds no fault with; worst first, then by place."""
    found = [finding for rule in RULES for finding in rule(definitions)]
    order: dict[Severity, int] = {"error": 0, "warning": 1, "note": 2}
    return sorted(found, key=lambda finding: (order[finding.severity], finding.where, finding.code, finding.message))


def _unread_columns(definitions: Definitions) -> Iterator[Finding]:
    read = {name for each in _of_events(definitions) for name in each.reads}
    for sequence in definitions.sequences.values():
        read |= {*sequence.columns, sequence.dedupe_key, *(each.column for each in sequence.filters)}
    for each in _of_events(definitions):
        unread = [column.name for column in each.writes if column.name not in read]
        if unread and len(unread) == len(each.writes):
            yield Finding("warning", f"enrichments/{each.name}", "unused_enrichment", "nobody reads what it writes")
        for name in unread:
            message = f"column {name!r} is read by no sequence and no enrichment"
            yield Finding("warning", f"enrichments/{each.name}", "unused_column", message)


def _attributes(definitions: Definitions) -> Iterator[Finding]:
    parsed = {
        column.name for each in _of_events(definitions) if each.executor == "validate_schema" for column in each.writes
    }
    for event in definitions.events.values():
        where = f"events/{event.name}"
        for attribute in event.attributes:
            if attribute.name not in parsed:
                message = f"attribute {attribute.name!r} is made a column by no enrichment"
                yield Finding("warning", where, "unread_attribute", message)
            is_number = attribute.type not in ("string", "bool")
            if is_number and (attribute.minimum is None or attribute.maximum is None):
                message = f"number {attribute.name!r} has no minimum or no maximum"
                yield Finding("warning", where, "unbounded_number", message)
            if attribute.type == "string" and attribute.max_length > LONG_STRING_CHARS:
                message = f"string {attribute.name!r} may have {attribute.max_length} characters"
                yield Finding("note", where, "long_string", message)


def _sequences(definitions: Definitions) -> Iterator[Finding]:
    used: set[str] = set()
    for sequence in definitions.sequences.values():
        used.update(sequence.event_types)
        yield from _columns(definitions, sequence)
        yield from _width(definitions, sequence)
        yield from _timeouts(definitions, sequence)
    for name in sorted(definitions.events.keys() - used):
        yield Finding("note", f"events/{name}", "in_no_sequence", "no sequence has events of this type")


def _columns(definitions: Definitions, sequence: Sequence) -> Iterator[Finding]:
    where = f"sequences/{sequence.name}"
    for field in sequence_schema(definitions, sequence.name):
        if not any(can_fill(definitions, name, field.name) for name in sequence.event_types):
            message = f"column {field.name!r} is always null: nothing writes it for {', '.join(sequence.event_types)}"
            yield Finding("error", where, "always_null_column", message)
        elif pa.types.is_binary(field.type) or pa.types.is_list(field.type):
            message = f"column {field.name!r} ({field.type}) has no bound on its length"
            yield Finding("warning", where, "unbounded_column", message)
        elif pa.types.is_string(field.type) and (length := _longest(definitions, sequence, field.name)):
            message = f"column {field.name!r} may have {length} characters in every one of {sequence.max_events} events"
            yield Finding("warning", where, "unbounded_string", message)


def _width(definitions: Definitions, sequence: Sequence) -> Iterator[Finding]:
    where, cost = f"sequences/{sequence.name}", storage_cost(definitions, sequence)
    if cost.bytes_per_user > WARN_BYTES_PER_USER:
        severity: Severity = "error" if cost.bytes_per_user > MAX_BYTES_PER_USER else "warning"
        message = (
            f"a full sequence is about {cost.bytes_per_user / 1e6:.1f} MB per user; the limit is "
            f"{MAX_BYTES_PER_USER / 1e6:.1f} MB: take fewer columns or events"
        )
        yield Finding(severity, where, "too_wide", message)
    for name, num_bytes in cost.bytes_by_column.items():
        share = num_bytes / cost.bytes_per_event
        if share > COSTLY_SHARE and num_bytes > COSTLY_BYTES and name not in NEEDED:
            yield Finding("note", where, "costly_column", f"column {name!r} is {share:.0%} of the bytes")


def _timeouts(definitions: Definitions, sequence: Sequence) -> Iterator[Finding]:
    for each in _of_events(definitions):
        applies = not each.event_types or set(each.event_types) & set(sequence.event_types)
        if applies and each.timeout_s > sequence.freshness_p99_s:
            message = f"{each.name} may take {each.timeout_s:g} s, the target is {sequence.freshness_p99_s:g} s"
            yield Finding("warning", f"sequences/{sequence.name}", "timeout_beyond_freshness", message)


def _longest(definitions: Definitions, sequence: Sequence, column: str) -> int:
    """The longest string that an attribute may put into a column, when that is long; else 0."""
    lengths = [
        attribute.max_length
        for name in sequence.event_types
        for attribute in definitions.events[name].attributes
        if attribute.name == column and attribute.max_length > LONG_STRING_CHARS
    ]
    return max(lengths, default=0)


def _of_events(definitions: Definitions) -> list[Enrichment]:
    return [each for each in definitions.enrichments.values() if each.subject == "event"]


RULES: tuple[Callable[[Definitions], Iterator[Finding]], ...] = (_unread_columns, _attributes, _sequences)
