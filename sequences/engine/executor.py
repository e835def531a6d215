"""What an executor is: the business logic of one enrichment, over Arrow."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sequences.definitions.enrichment import Enrichment
from sequences.definitions.event_type import EventType


@dataclass(frozen=True)
class Lookups:
    """What executors may ask for: event types, and rows that the engine fetched for the whole envelope.

    `rows` has the row of each found key; `is_available` is False when the source could not be asked.
    """

    event_types: Mapping[str, EventType] = field(default_factory=dict)
    rows: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    is_available: bool = True


@dataclass(frozen=True)
class ExecutorResult:
    """`keep` [N] (None = all), the written columns {name: array [N]}, failed rows {row: reason}.

    `missing` [N] marks rows whose look-up found nothing; the engine applies `on_missing` to them.
    """

    columns: Mapping[str, pa.Array] = field(default_factory=dict)
    keep: NDArray[np.bool_] | None = None
    failures: Mapping[int, str] = field(default_factory=dict)
    missing: NDArray[np.bool_] | None = None


@dataclass(frozen=True)
class Step:
    """What an executor is told about the enrichment it runs for."""

    reads: tuple[str, ...]
    writes: tuple[pa.Field, ...]
    parameters: Mapping[str, Any]


class Executor(Protocol):
    """Pure: the same batch, step and look-ups give the same result, in any runtime. Sees no Kafka, Redis or clock."""

    name: str
    lookup_column: str
    """Column whose values the engine looks up before `run`; "" = none."""

    def check(self, enrichment: Enrichment) -> list[str]:
        """What is wrong with the enrichment's columns or parameters; empty = fine."""
        ...

    def run(self, batch: pa.RecordBatch, step: Step, lookups: Lookups) -> ExecutorResult:
        """Work on every row of the batch; a row that cannot be worked on goes into `failures`."""
        ...
