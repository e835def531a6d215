"""What changes from one set of definitions to another, for people to read before it is activated."""

from dataclasses import dataclass
from typing import Any, Literal

from sequences.definitions.definitions import Definitions
from sequences.definitions.problem import Problem

ROOMS = ("events", "enrichments", "sequences", "surfaces", "spacing")


@dataclass(frozen=True)
class Change:
    """One definition that differs; `fields` are those that changed, as {name: (old, new)}."""

    where: str
    what: Literal["added", "removed", "changed"]
    fields: dict[str, tuple[Any, Any]]


def diff(old: Definitions, new: Definitions) -> list[Change]:
    """Every definition added, removed or changed, by room, then by name."""
    return [change for room in ROOMS for change in _room(room, getattr(old, room), getattr(new, room))]


def unversioned_changes(old: Definitions, new: Definitions) -> list[Problem]:
    """Definitions whose column or attribute types changed though their version did not grow."""
    problems = []
    for change in diff(old, new):
        room, name = change.where.split("/")
        key = {"events": "attributes", "enrichments": "writes"}.get(room, "")
        if change.what != "changed" or key not in change.fields:
            continue
        before, after = ({each["name"]: each["type"] for each in side} for side in change.fields[key])
        retyped = sorted(column for column in before.keys() & after.keys() if before[column] != after[column])
        if retyped and getattr(new, room)[name].version <= getattr(old, room)[name].version:
            problems.append(
                Problem(
                    change.where,
                    "type_changed_without_version",
                    f"type of {', '.join(retyped)} changed; raise the version",
                )
            )
    return problems


def _room(room: str, old: dict[str, Any], new: dict[str, Any]) -> list[Change]:
    changes = []
    for name in sorted(old.keys() | new.keys()):
        where = f"{room}/{name}"
        if name not in old:
            changes.append(Change(where, "added", {}))
        elif name not in new:
            changes.append(Change(where, "removed", {}))
        elif old[name] != new[name]:
            before, after = old[name].model_dump(mode="json"), new[name].model_dump(mode="json")
            fields = {key: (before[key], after[key]) for key in after if before[key] != after[key]}
            changes.append(Change(where, "changed", fields))
    return changes
