"""All definitions of one version, and their canonical JSON."""

import hashlib
import json
from collections.abc import Iterable
from typing import Literal

from pydantic import Field

from chassis import strict_json
from chassis.errors import Corrupt, Invalid
from sequences.definitions.definition import Definition, Frozen, Name
from sequences.definitions.enrichment import Enrichment
from sequences.definitions.event_type import EventType
from sequences.definitions.sequence import Sequence
from sequences.definitions.spacing_class import SpacingClass
from sequences.definitions.surface import Surface

FORMAT: Literal[1] = 1
"""Raised when readers of the older format could not understand the JSON."""


class Definitions(Frozen):
    """Every definition by kind and name; `version` follows from the content."""

    format: Literal[1] = FORMAT
    events: dict[Name, EventType] = Field(default_factory=dict)
    enrichments: dict[Name, Enrichment] = Field(default_factory=dict)
    sequences: dict[Name, Sequence] = Field(default_factory=dict)
    surfaces: dict[Name, Surface] = Field(default_factory=dict)
    spacing: dict[Name, SpacingClass] = Field(default_factory=dict)
    version: str = Field(default="", exclude=True)

    def canonical_json(self) -> bytes:
        """Equal definitions give equal bytes."""
        content = self.model_dump(mode="json")
        text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        return text.encode()


_ROOM_BY_KIND: dict[type[Definition], str] = {
    EventType: "events",
    Enrichment: "enrichments",
    Sequence: "sequences",
    Surface: "surfaces",
    SpacingClass: "spacing",
}


def assemble(definitions: Iterable[Definition]) -> Definitions:
    """Put single definitions together. Raises: Invalid when two of one kind have the same name."""
    rooms: dict[str, dict[str, Definition]] = {room: {} for room in _ROOM_BY_KIND.values()}
    for definition in definitions:
        room = rooms[_ROOM_BY_KIND[type(definition)]]
        if definition.name in room:
            kind = type(definition).__name__
            raise Invalid(
                f"two definitions of kind {kind} are named {definition.name!r}",
                field=definition.name,
                reason="duplicate_definition",
            )
        room[definition.name] = definition
    return parse(
        Definitions.model_validate({name: dict(sorted(room.items())) for name, room in rooms.items()}).canonical_json()
    )


def parse(content: bytes) -> Definitions:
    """Definitions of canonical JSON. Raises: Corrupt when it is not of this format."""
    try:
        strict_json.loads(content)
        definitions = Definitions.model_validate_json(content)
    except ValueError as error:  # pydantic's ValidationError among them
        raise Corrupt(f"definitions cannot be read: {error}", reason="bad_definitions") from error
    return definitions.model_copy(update={"version": version_of(definitions.canonical_json())})


def version_of(content: bytes) -> str:
    """The version of canonical JSON: a hash of its bytes."""
    return "d-" + hashlib.sha256(content).hexdigest()[:12]
