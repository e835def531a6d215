"""Which row of a bundle each row of the live index is; kept up to date by what was appended since."""

import threading
from collections.abc import Mapping

import numpy as np

from modeling.arrays import Ints
from services.cg.domain.pin_index import PinSnapshot


class RowMap:
    """Bundle rows by pin id, as an array along the rows of the latest snapshot. Thread-safe."""

    def __init__(self, row_of_pin: Mapping[str, int]) -> None:
        self._row_of_pin = row_of_pin
        self._lock = threading.Lock()
        self._generation = -1
        self._bundle_row_N: Ints = np.zeros(0, dtype=np.int64)

    def of(self, snapshot: PinSnapshot) -> Ints:
        """Bundle row of every snapshot row [N]; -1 = the bundle does not know the pin."""
        with self._lock:
            if snapshot.generation != self._generation:
                self._generation, self._bundle_row_N = snapshot.generation, np.zeros(0, dtype=np.int64)
            known = len(self._bundle_row_N)
            if known < snapshot.num_rows:
                new_ids = snapshot.pin_ids[known : snapshot.num_rows]
                new_rows = [self._row_of_pin.get(pin_id, -1) for pin_id in new_ids]
                self._bundle_row_N = np.concatenate([self._bundle_row_N, np.asarray(new_rows, dtype=np.int64)])
            return self._bundle_row_N[: snapshot.num_rows]
