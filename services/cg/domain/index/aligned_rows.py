"""Something known of each pin, as an array along the rows of the live index, kept up to date by what was appended."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from services.cg.domain.pin_index import PinSnapshot

GENERATIONS_KEPT = 2  # the one in use, and the one that requests in flight still read or that is being prepared
CHUNK_ROWS = 1_024  # rows computed at once
START_ROWS = 1_024

Number = TypeVar("Number", bound=np.generic)
Compute = Callable[[PinSnapshot, int, int], npt.NDArray[Number]]  # snapshot, first row, end row -> values


class AlignedRows(Generic[Number]):
    """Values of all rows of a snapshot; each is computed once and moves along when the index is compacted. Thread-safe:
    rows that are known are read without waiting, also while those of another generation are made."""

    def __init__(self, compute: Compute[Number], nothing: npt.NDArray[Number]) -> None:
        """`nothing` is an array of no rows: it tells type and width."""
        self._compute, self._nothing = compute, nothing
        self._lock = threading.Lock()
        self._columns: dict[int, _Column[Number]] = {}

    def of(self, snapshot: PinSnapshot) -> npt.NDArray[Number]:
        """Values of the snapshot's rows [N, …]."""
        column = self._columns.get(snapshot.generation) or self._new_column(snapshot.generation)
        if column.num_rows < snapshot.num_rows:
            self._fill(column, snapshot)
        return column.values[: snapshot.num_rows]

    def _new_column(self, generation: int) -> "_Column[Number]":
        with self._lock:
            columns = dict(self._columns)
            column = columns.setdefault(generation, _Column(self._nothing))
            self._columns = {number: columns[number] for number in sorted(columns)[-GENERATIONS_KEPT:]}
            return column

    def _fill(self, column: "_Column[Number]", snapshot: PinSnapshot) -> None:
        with column.lock:
            column.reserve(snapshot.num_rows)
            self._move(column, snapshot)
            for start in range(column.num_rows, snapshot.num_rows, CHUNK_ROWS):
                end = min(start + CHUNK_ROWS, snapshot.num_rows)
                column.append(self._compute(snapshot, start, end))

    def _move(self, column: "_Column[Number]", snapshot: PinSnapshot) -> None:
        """Take over what the generation before the compaction knew."""
        old = self._columns.get(snapshot.moved.generation) if snapshot.moved else None
        if old is None or snapshot.moved is None or column.num_rows:
            return
        num_known, old_row_M = old.num_rows, snapshot.moved.old_row_M  # the number first, see _Column.append
        column.append(old.values[old_row_M[old_row_M < num_known]])


class _Column(Generic[Number]):
    """An array with room to grow; rows below `num_rows` never change."""

    def __init__(self, nothing: npt.NDArray[Number]) -> None:
        self.lock = threading.Lock()
        self.values = nothing
        self.num_rows = 0

    def reserve(self, num_rows: int) -> None:
        if num_rows > len(self.values):
            bigger = np.empty((max(START_ROWS, num_rows * 5 // 4), *self.values.shape[1:]), dtype=self.values.dtype)
            bigger[: self.num_rows] = self.values[: self.num_rows]
            self.values = bigger

    def append(self, values: npt.NDArray[Number]) -> None:
        end = self.num_rows + len(values)
        self.values[self.num_rows : end] = values
        self.num_rows = end  # last: whoever sees the number sees the rows
