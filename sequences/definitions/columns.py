"""The Arrow columns that definitions stand for."""

import pyarrow as pa

from protos import event_schema
from sequences.definitions.definitions import Definitions
from sequences.definitions.enrichment import Column, Subject

_ARROW_BY_TYPE: dict[str, pa.DataType] = {
    "string": pa.string(),
    "binary": pa.binary(),
    "bool": pa.bool_(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "float32": pa.float32(),
    "float64": pa.float64(),
    "list<string>": pa.list_(pa.string()),
    "list<int32>": pa.list_(pa.int32()),
    "list<float32>": pa.list_(pa.float32()),
}

PIN_INPUT: pa.Schema = pa.schema(
    [
        pa.field("pin_id", pa.string(), nullable=False),
        pa.field("title", pa.string(), nullable=False),
        pa.field("description", pa.string(), nullable=False),
        pa.field("topics", pa.list_(pa.string()), nullable=False),
        pa.field("locale", pa.string(), nullable=False),
        pa.field("created_time_ms", pa.int64(), nullable=False),
        pa.field("image", pa.binary(), nullable=False),
        pa.field("given_vector", pa.list_(pa.float32())),
    ]
)
"""What enrichments of pins may read. Absent texts are "", an absent image is b"", an absent vector is null."""


def arrow_type(name: str) -> pa.DataType:
    """The Arrow type of a ColumnType."""
    return _ARROW_BY_TYPE[name]


def field_of(column: Column) -> pa.Field:
    """The nullable Arrow field of a written column."""
    return pa.field(column.name, arrow_type(column.type))


def input_schema(subject: Subject) -> pa.Schema:
    """The columns a row has before any enrichment."""
    return event_schema.ACCEPTED if subject == "event" else PIN_INPUT


def written_fields(definitions: Definitions, subject: Subject = "event") -> list[pa.Field]:
    """Every column that enrichments of this subject write, sorted by name."""
    enrichments = [each for each in definitions.enrichments.values() if each.subject == subject]
    return sorted((field_of(column) for each in enrichments for column in each.writes), key=lambda field: field.name)


def enriched_schema(definitions: Definitions) -> pa.Schema:
    """The schema of envelopes in events.enriched under these definitions."""
    return event_schema.enriched(written_fields(definitions))


def sequence_schema(definitions: Definitions, sequence: str) -> pa.Schema:
    """The schema of one sequence's events, in the definition's column order. Raises: KeyError."""
    schema = enriched_schema(definitions)
    return pa.schema([schema.field(name) for name in definitions.sequences[sequence].columns])
