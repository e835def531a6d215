"""The kind Sequence: which events of a user, with which columns, for how long, readable by whom."""

from typing import Literal

from pydantic import Field, JsonValue

from sequences.definitions.definition import Definition, Frozen, Name


class Filter(Frozen):
    """A condition on one column; null never fulfils it."""

    column: Name
    operator: Literal["==", "!=", "<", "<=", ">", ">=", "in"]
    value: JsonValue


class Sequence(Definition):
    """A user's events of some types, ordered by event time, then event id."""

    event_types: tuple[Name, ...] = Field(min_length=1)
    columns: tuple[Name, ...] = Field(min_length=1)
    filters: tuple[Filter, ...] = ()
    max_events: int = Field(default=2048, ge=1, le=16_000)
    window_days: int = Field(default=365, ge=1, le=36_500)
    dedupe_key: Name = Field(default="event_id")
    freshness_p99_s: float = Field(default=2.0, gt=0, description="target: event accepted -> readable")
    completeness_ratio: float = Field(default=0.999, gt=0, le=1, description="target: readable / accepted by hour")
    tenants: tuple[str, ...] = Field(default=("*",), description='who may read; "*" = everybody')

    def can_read(self, tenant: str) -> bool:
        """Whether this tenant may read the sequence."""
        return "*" in self.tenants or tenant in self.tenants
