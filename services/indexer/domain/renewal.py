"""What becomes of the rows that a user's sequence holds once history has been enriched again."""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from services.indexer.domain.event_order import ID, conform, in_order, joined, widest

SAID = ("event_id", "event_type", "event_time_ms", "pin_id")
"""What every held row has of what its publisher said."""


@dataclass(frozen=True)
class RenewalCounts:
    """Of events. `num_conflict`: held with another payload, and left as they are."""

    num_changed: int = 0
    num_removed: int = 0
    num_added: int = 0
    num_conflict: int = 0

    def __add__(self, other: "RenewalCounts") -> "RenewalCounts":
        return RenewalCounts(*(getattr(self, name) + getattr(other, name) for name in vars(self)))


@dataclass(frozen=True)
class Renewal:
    """The rows after it, those that are gone, and how many of each."""

    rows: pa.RecordBatch
    removed: pa.RecordBatch
    counts: RenewalCounts

    @property
    def is_none(self) -> bool:
        """Whether everything stays as it was."""
        return not (self.counts.num_changed or self.counts.num_removed)


def renewed(held: pa.RecordBatch, wanted: pa.RecordBatch, decided: AbstractSet[str]) -> Renewal:
    """Of one user and sequence: held rows take the values of `wanted`; those of `decided` that it lacks are removed.

    Rows of `wanted` that are not held are left out: whoever appends them knows whether they are too late.
    """
    schema = widest([held], wanted.schema)
    held, wanted = in_order(conform(held, schema)), conform(wanted, schema)
    places = {event_id: place for place, event_id in enumerate(wanted.column(ID).to_pylist())}
    old, new = (list(zip(*(each.column(name).to_pylist() for name in SAID), strict=True)) for each in (held, wanted))
    takes, stays = np.full(held.num_rows, -1, np.int64), np.ones(held.num_rows, np.bool_)
    num_conflict = 0
    for row, said in enumerate(old):
        place = places.get(said[0])
        if place is None:
            stays[row] = said[0] not in decided
        elif new[place] == said:
            takes[row] = place
        else:
            num_conflict += 1
    is_taken = takes >= 0
    before, after = held.filter(pa.array(is_taken)), wanted.take(pa.array(takes[is_taken]))
    num_changed = 0 if after.equals(before) else sum(map(_differ, after.to_pylist(), before.to_pylist()))
    rows = joined([held.filter(pa.array(stays & ~is_taken)), after], schema)
    return Renewal(
        rows, held.filter(pa.array(~stays)), RenewalCounts(num_changed, int((~stays).sum()), 0, num_conflict)
    )


def _differ(one: object, other: object) -> bool:
    return one != other
