"""What one process asked for and got, in a file that outlives its kill: counters in shared memory, by bins of time."""

import mmap
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

BIN_S = 0.05
NUM_KINDS = 3  # admitted, refused, milliseconds that the machine took from the process


class Tally:
    """Counts into the bin of now; every process of a machine has the same monotonic clock."""

    def __init__(self, path: Path, begin_s: float, total_s: float) -> None:
        self._path = path
        self._begin_s, self._num_bins = begin_s, int(total_s / BIN_S)
        size = self._num_bins * NUM_KINDS * 8
        if not path.exists():
            path.write_bytes(bytes(size))
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), size)
        self._counts = np.frombuffer(self._memory, dtype=np.int64).reshape(self._num_bins, NUM_KINDS)

    def say_up(self) -> None:
        """Leave a mark that this process lives."""
        up_mark(self._path).touch()

    def add(self, num_admitted: int, num_refused: int, stalled_ms: int = 0) -> None:
        """Kept by the kernel, so a kill loses at most the one decision in hand."""
        place = int((time.monotonic() - self._begin_s) / BIN_S)
        if 0 <= place < self._num_bins:
            self._counts[place] += (num_admitted, num_refused, stalled_ms)


def up_mark(path: Path) -> Path:
    """The mark of `say_up`."""
    return path.with_suffix(".up")


def read(path: Path) -> NDArray[np.int64]:
    """[bins, (admitted, refused, stalled ms)] of a tally, whoever wrote it."""
    return np.fromfile(path, dtype=np.int64).reshape(-1, NUM_KINDS)
