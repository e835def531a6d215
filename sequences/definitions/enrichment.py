"""The kind Enrichment: one executor, applied to some rows, with what it reads and writes."""

from typing import Literal

from pydantic import Field, JsonValue

from sequences.definitions.definition import Definition, Frozen, Name

ColumnType = Literal[
    "string",
    "binary",
    "bool",
    "int32",
    "int64",
    "float32",
    "float64",
    "list<string>",
    "list<int32>",
    "list<float32>",
]
Subject = Literal["event", "pin"]
OnMissing = Literal["null", "default", "park"]


class Column(Frozen):
    """A typed column that an enrichment writes. Values may be null."""

    name: Name
    type: ColumnType
    default: JsonValue = Field(default=None, description="value with on_missing = default")


class Enrichment(Definition):
    """One step of the plan; the engine orders steps by what they read and write."""

    subject: Subject = Field(default="event", description="rows it works on: events or pins")
    executor: Name
    reads: tuple[Name, ...] = Field(min_length=1, description="the only columns that the executor sees")
    writes: tuple[Column, ...] = Field(default=(), description="empty for a pure filter")
    event_types: tuple[Name, ...] = Field(default=(), description="rows it applies to; empty = all")
    parameters: dict[str, JsonValue] = Field(default_factory=dict)
    timeout_s: float = Field(default=1.0, gt=0, le=60)
    on_missing: OnMissing = Field(default="null", description="what a failed or empty look-up becomes")
