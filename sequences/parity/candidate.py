"""The definitions that a cut-over of some event types would activate: the active ones, with these types from others.

What is measured is what is activated: a shadow runs exactly this bundle.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from chassis.errors import Invalid, NotFound
from sequences.definitions.definition import Definition
from sequences.definitions.definitions import Definitions, parse
from sequences.definitions.enrichment import Enrichment
from sequences.definitions.sequence import Sequence
from sequences.definitions.validate import check

Moving = TypeVar("Moving", Enrichment, Sequence)


@dataclass(frozen=True)
class Candidate:
    """`left_out` names changes of the wanted definitions that belong to other types, or to several."""

    definitions: Definitions
    left_out: tuple[str, ...]


def candidate(active: Definitions, wanted: Definitions, event_types: tuple[str, ...]) -> Candidate:
    """`active` with the event types, their own enrichments and their own sequences from `wanted`.

    An enrichment writes its columns for all its types at once, so one that other types share can only move with them.
    Raises: NotFound for an unknown type; Invalid naming what is shared, when nothing would change, or when the
    combination is not valid.
    """
    _check_types(active, wanted, event_types)
    moving = frozenset(event_types)
    shared = _shared_enrichments(active, wanted, moving)
    if shared:
        raise Invalid(_explain(shared, moving), field="event_type", reason="shared_enrichment")
    parts: dict[str, dict[str, Definition]] = {
        "events": {**active.events, **{name: wanted.events[name] for name in event_types}},
        "enrichments": {**_moved(active.enrichments, wanted.enrichments, _own_enrichments(active, wanted, moving))},
        "sequences": {**_moved(active.sequences, wanted.sequences, _own_sequences(active, wanted, moving))},
    }
    found = parse(
        active.model_copy(update={room: dict(sorted(part.items())) for room, part in parts.items()}).canonical_json()
    )
    if found.version == active.version:
        raise Invalid(
            f"{', '.join(event_types)}: {wanted.version} says the same as the active {active.version}; "
            f"there is nothing to cut over",
            field="event_type",
            reason="nothing_changes",
        )
    try:
        check(found)
    except Invalid as error:
        raise Invalid(
            f"{', '.join(event_types)} of {wanted.version} does not fit the rest of {active.version}: {error.message}",
            field=error.field,
            reason=error.reason,
        ) from error
    return Candidate(found, _left_out(found, wanted))


def _check_types(active: Definitions, wanted: Definitions, event_types: tuple[str, ...]) -> None:
    for version in (active, wanted):
        for name in event_types:
            if name not in version.events:
                raise NotFound(
                    f"{version.version} has no event type {name!r}; it has {', '.join(sorted(version.events))}",
                    field="event_type",
                    reason="unknown_event_type",
                )


def _types_of(enrichment: Enrichment | None, definitions: Definitions) -> frozenset[str]:
    if enrichment is None:
        return frozenset()
    return frozenset(enrichment.event_types or definitions.events)


def _changed_enrichments(active: Definitions, wanted: Definitions) -> dict[str, frozenset[str]]:
    """Enrichments of events that differ -> every type that either version applies them to."""
    old, new = active.enrichments, wanted.enrichments
    return {
        name: _types_of(old.get(name), active) | _types_of(new.get(name), wanted)
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name) and (new.get(name) or old[name]).subject == "event"
    }


def _shared_enrichments(
    active: Definitions, wanted: Definitions, moving: frozenset[str]
) -> Mapping[str, frozenset[str]]:
    """Changed enrichments of moving types -> the types that would have to move as well."""
    changed = _changed_enrichments(active, wanted)
    return {name: types - moving for name, types in changed.items() if types & moving and types - moving}


def _own_enrichments(active: Definitions, wanted: Definitions, moving: frozenset[str]) -> set[str]:
    return {name for name, types in _changed_enrichments(active, wanted).items() if types <= moving}


def _own_sequences(active: Definitions, wanted: Definitions, moving: frozenset[str]) -> set[str]:
    """Sequences of moving types alone, in both versions."""
    names = active.sequences.keys() | wanted.sequences.keys()
    versions = {name: (active.sequences.get(name), wanted.sequences.get(name)) for name in names}
    return {name for name, sides in versions.items() if all(set(each.event_types) <= moving for each in sides if each)}


def _moved(old: Mapping[str, Moving], new: Mapping[str, Moving], names: set[str]) -> dict[str, Moving]:
    kept = {name: each for name, each in old.items() if name not in names}
    return kept | {name: each for name, each in new.items() if name in names}


def _left_out(found: Definitions, wanted: Definitions) -> tuple[str, ...]:
    rooms = ("events", "enrichments", "sequences", "surfaces", "spacing")
    return tuple(
        f"{room}/{name}"
        for room in rooms
        for name in sorted(getattr(found, room).keys() | getattr(wanted, room).keys())
        if getattr(found, room).get(name) != getattr(wanted, room).get(name)
    )


def _explain(shared: Mapping[str, frozenset[str]], moving: frozenset[str]) -> str:
    named = "; ".join(f"enrichment {name!r} changes also {', '.join(sorted(types))}" for name, types in shared.items())
    together = ",".join(sorted(moving.union(*shared.values())))
    return f"{named}. Cut these types over together ({together}), or give the moving ones an enrichment of their own"
