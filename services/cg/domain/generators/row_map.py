"""Which row of a bundle each row of the live index is; kept up to date by what was appended since."""

from collections.abc import Mapping

import numpy as np

from modeling.arrays import Ints
from services.cg.domain.index.aligned_rows import AlignedRows
from services.cg.domain.pin_index import PinSnapshot


class RowMap:
    """Bundle rows by pin id, as an array along the rows of a snapshot. Thread-safe."""

    def __init__(self, row_of_pin: Mapping[str, int]) -> None:
        self._row_of_pin = row_of_pin
        self._bundle_row_N = AlignedRows(self._find, np.zeros(0, dtype=np.int64))

    def of(self, snapshot: PinSnapshot) -> Ints:
        """Bundle row of every snapshot row [N]; -1 = the bundle does not know the pin."""
        return self._bundle_row_N.of(snapshot)

    def _find(self, snapshot: PinSnapshot, start: int, end: int) -> Ints:
        return np.asarray([self._row_of_pin.get(pin_id, -1) for pin_id in snapshot.pin_ids[start:end]], dtype=np.int64)
