"""A training on a dataset's training rows, as plain values that any process can carry out."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from torch import nn

from modeling.checkpoint import Checkpoint
from modeling.training import Progress, silent
from sequences.dataset import Dataset
from sequences.request_batch import RequestBatch
from services.cg.offline.contextual_training import NegativeShares
from services.cg.offline.shopping_rows import ALWAYS, Period
from services.cg.offline.training_runtime import FollowedCheckpoint, Runtime

VALIDATION_SHARE = 0.5  # of the held-out time: it ends the training, the rest judges it
MAX_VALIDATION_BATCHES = 20
T = TypeVar("T")


@dataclass(frozen=True)
class RowsTask:
    """`num_epochs` 0 = the usual number. Nothing held out means neither a validation nor an evaluation."""

    generator: str
    dataset: str
    seed: int = 17
    num_epochs: int = 0
    patience: int = 2
    held_out_share: float = 0.2
    checkpoint: str = ""
    every_steps: int = 50
    settings: Mapping[str, Any] = field(default_factory=dict)

    def open(self) -> Dataset:
        """Raises: NotFound, Corrupt."""
        return Dataset.open(Path(self.dataset))

    def saved_by(self, runtime: Runtime) -> Checkpoint | None:
        """The first worker writes it, all go on from it."""
        if not self.checkpoint:
            return None
        kind = Checkpoint if runtime.rank == 0 else FollowedCheckpoint
        return kind(Path(self.checkpoint), self.every_steps)

    def periods(self, dataset: Dataset) -> "Periods":
        """By the time of serving: first what is learnt, then validation, then the test."""
        served_ms = dataset.served().column("served_time_ms").to_numpy()
        if not self.held_out_share or not len(served_ms):
            return Periods(ALWAYS, None, None)
        last_ms = int(served_ms.max()) + 1
        held_out_ms = int((last_ms - int(served_ms.min())) * self.held_out_share)
        first_ms = last_ms - held_out_ms
        test_ms = first_ms + int(held_out_ms * VALIDATION_SHARE)
        return Periods(Period(end_ms=first_ms), Period(first_ms, test_ms), Period(start_ms=test_ms))


@dataclass(frozen=True)
class Periods:
    """What is learnt from, what ends the training early, what judges it."""

    learnt: Period
    validation: Period | None
    test: Period | None


class FittedRows(Protocol):
    """A trained generator."""

    @property
    def model(self) -> nn.Module: ...

    @property
    def shares(self) -> NegativeShares: ...

    def evaluation(self) -> dict[str, Any]:
        """What goes into the bundle's evaluation."""
        ...

    def files(self, evaluation: Mapping[str, Any]) -> Mapping[str, bytes]:
        """Of the bundle."""
        ...


class Fit(Protocol):
    """How one generator is trained; with `is_trained_elsewhere` everything but the training is done."""

    def __call__(
        self, task: RowsTask, runtime: Runtime, progress: Progress = silent, *, is_trained_elsewhere: bool = False
    ) -> FittedRows: ...


def in_period(rows: RequestBatch, period: Period) -> RequestBatch:
    """The requests that were served in it."""
    is_in_R = period.holds(rows.request_features.column("served_time_ms").to_numpy())
    return rows if is_in_R.all() else rows.take(np.flatnonzero(is_in_R))


def validation_batches(rows: Iterable[RequestBatch], period: Period, to_batch: Callable[[RequestBatch], T]) -> list[T]:
    """The first batches of the period, each once for all epochs."""
    kept: list[T] = []
    for each in rows:
        chosen = in_period(each, period)
        if chosen.num_requests:
            kept.append(to_batch(chosen))
        if len(kept) == MAX_VALIDATION_BATCHES:
            break
    return kept


def negative_loss(losses: Iterator[float]) -> float:
    """A score: higher is better."""
    found = list(losses)
    return -float(np.mean(found)) if found else 0.0
