"""The kind EventType: what one sort of event must carry."""

from typing import Literal

from pydantic import Field

from sequences.definitions.definition import Definition, Frozen, Name

AttributeType = Literal["string", "int64", "float32", "float64", "bool"]
DAY_MS = 86_400_000


class Attribute(Frozen):
    """One typed and bounded entry of an event's attributes."""

    name: Name
    type: AttributeType
    is_required: bool = False
    minimum: float | None = Field(default=None, description="smallest number, inclusive")
    maximum: float | None = Field(default=None, description="largest number, inclusive")
    max_length: int = Field(default=256, ge=1, le=4096, description="characters of a string")


class EventType(Definition):
    """One sort of event, such as save."""

    attributes: tuple[Attribute, ...] = ()
    needs_pin: bool = Field(default=True, description="pin_id must be set")
    retention_days: int = Field(default=365, ge=1, le=36_500, description="older events are refused")
    max_lateness_s: int = Field(default=86_400, ge=1, description="later events are left to batch")

    @property
    def retention_ms(self) -> int:
        """Oldest age of an event that is still accepted, milliseconds."""
        return self.retention_days * DAY_MS
