"""Leaves the dead rows of the index behind, in a thread of its own, while the index is written to and searched.

Shapes: M rows that are kept.
"""

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from services.cg.domain.pin_snapshot import Moved, PinColumns, PinSnapshot, empty_columns

ROOM = 2  # the new columns have room for twice the pins
CHUNK_IDS = 1_024  # ids moved before other threads get Python's lock: a fraction of a millisecond
PAUSE_S = 0.001  # asks for nothing but the lock: a thread that waits for it gets it at once, not after 5 ms


class Compaction:
    """`run` and `preview` in the background, then `catch_up` by the writer. Rows keep their order."""

    def __init__(self, old: PinSnapshot, generation: int) -> None:
        self.old = old
        self.generation = generation
        self.moved = Moved(old.generation, np.flatnonzero(old.columns.is_live_N))
        self.num_rows = 0
        self.pin_ids: list[str] = []
        self.row_of: dict[str, int] = {}
        self.columns: PinColumns

    def run(self) -> None:
        """Copy the live rows. Slow."""
        rows_M, width = self.moved.old_row_M, self.old.columns.content_NW.shape[1]
        self.columns = empty_columns(ROOM * max(1_024, len(rows_M)), width)
        for name in PinColumns.__dataclass_fields__:
            np.take(
                getattr(self.old.columns, name),
                rows_M,
                axis=0,
                out=getattr(self.columns, name)[: len(rows_M)],
                mode="clip",
            )
        for start in range(0, len(rows_M), CHUNK_IDS):
            self._take_ids([self.old.pin_ids[row] for row in rows_M[start : start + CHUNK_IDS].tolist()])
            time.sleep(PAUSE_S)

    def preview(self) -> PinSnapshot:
        """What readers will see, without what changed since: for preparing what is derived of it."""
        return replace(
            self.old,
            generation=self.generation,
            num_rows=self.num_rows,
            pin_ids=self.pin_ids,
            row_of=self.row_of,
            columns=self.columns.cut(self.num_rows),
            moved=self.moved,
            earlier_row={},
        )

    def catch_up(self, columns: PinColumns, num_rows: int, pin_ids: Sequence[str]) -> None:
        """Take over the rows written since, and forget those that died since."""
        num_moved = len(self.moved.old_row_M)
        is_live_M = columns.is_live_N[self.moved.old_row_M]
        self.columns.is_live_N[:num_moved] = is_live_M
        for row in np.flatnonzero(~is_live_M).tolist():
            del self.row_of[self.pin_ids[row]]
        new = self.old.num_rows + np.flatnonzero(columns.is_live_N[self.old.num_rows : num_rows])
        if num_moved + len(new) > len(self.columns.is_live_N):
            self._grow(num_moved + len(new))
        for name in PinColumns.__dataclass_fields__:
            getattr(self.columns, name)[num_moved : num_moved + len(new)] = getattr(columns, name)[new]
        self._take_ids([pin_ids[row] for row in new.tolist()])

    def _take_ids(self, pin_ids: list[str]) -> None:
        self.row_of.update(zip(pin_ids, range(self.num_rows, self.num_rows + len(pin_ids)), strict=True))
        self.pin_ids.extend(pin_ids)
        self.num_rows += len(pin_ids)

    def _grow(self, num_rows: int) -> None:
        """More was written meanwhile than there is room for: only after a very long compaction."""
        bigger = empty_columns(ROOM * num_rows, self.columns.content_NW.shape[1])
        for name in PinColumns.__dataclass_fields__:
            getattr(bigger, name)[: self.num_rows] = getattr(self.columns, name)[: self.num_rows]
        self.columns = bigger
