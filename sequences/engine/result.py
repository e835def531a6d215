"""What a run of the engine tells: the rows that got through, and why the others did not."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


@dataclass(frozen=True)
class RowFailure:
    """A poison row; `row` counts in the batch that the engine was given."""

    row: int
    enrichment: str
    reason: str


@dataclass(frozen=True)
class StepRun:
    """What one step did. `num_kept` excludes failed rows."""

    enrichment: str
    executor: str
    num_in: int
    num_kept: int
    num_failed: int
    duration_s: float
    columns: tuple[str, ...]


@dataclass(frozen=True)
class EngineResult:
    """rows of the input = rows of `batch` + filtered + failed, each in exactly one of them.

    `rows` [M] are the input rows of `batch`, in order; `filtered` is {enrichment: number of rows}.
    """

    batch: pa.RecordBatch
    rows: NDArray[np.int64]
    filtered: Mapping[str, int]
    failures: tuple[RowFailure, ...]
    steps: tuple[StepRun, ...]
