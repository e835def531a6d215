"""Why an event is on one side only.

Shapes: P events of one side only.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sequences.definitions.definition import Frozen

Cause = Literal["late", "filtered", "deduplicated", "schema error", "unknown"]
Side = Literal["old", "new"]


@dataclass(frozen=True)
class Evidence:
    """What is known of one event that a side lacks.

    `is_found_later`: a second look found it. `failure`: reason with which that side's definitions fail on it, or "".
    `filtered_by`: enrichment of that side that removes it, or "". `is_id_held`: that side has the id for another event.
    """

    is_found_later: bool = False
    failure: str = ""
    filtered_by: str = ""
    is_id_held: bool = False


class CauseCount(Frozen):
    """Events that `missing_on` lacks for one cause; `detail` names the enrichment or the reason."""

    missing_on: Side
    cause: Cause
    detail: str
    num_events: int


def cause_of(evidence: Evidence) -> tuple[Cause, str]:
    """The cause and its detail. What is there in the end was late, whatever else could be said of it."""
    if evidence.is_found_later:
        return "late", "came after the settling delay"
    if evidence.failure:
        return "schema error", evidence.failure
    if evidence.filtered_by:
        return "filtered", evidence.filtered_by
    if evidence.is_id_held:
        return "deduplicated", "that side has the id for another event"
    return "unknown", "that side's definitions keep it"


def count_causes(missing_on: Side, evidence: Sequence[Evidence]) -> list[CauseCount]:
    """One entry per cause and detail, the most frequent first."""
    found = Counter(map(cause_of, evidence))
    return [
        CauseCount(missing_on=missing_on, cause=cause, detail=detail, num_events=number)
        for (cause, detail), number in sorted(found.items(), key=lambda item: (-item[1], item[0]))
    ]
