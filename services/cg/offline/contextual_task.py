"""The contextual tower trained on training rows, judged and put into files as one task.

Shapes: Q questions, L history positions, P pins.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from torch import nn

from modeling.arrays import Ints
from modeling.evaluation import hits, rank_of_label, summarise_ranks
from modeling.history_window import HistoryWindow
from modeling.interactions import ENGAGEMENT_TYPES
from modeling.intervals import bootstrap_interval
from modeling.training import Progress, TrainingPlan, silent
from modeling.training_data import from_tables
from sequences.dataset import Dataset
from sequences.request_batch import RequestBatch
from sequences.training_reader import ReadOptions
from services.cg.domain.two_tower_contextual import ContextualSettings
from services.cg.domain.two_tower_features import PinFeatures
from services.cg.offline.contextual_fitting import (
    LEARNING_RATE,
    WEIGHT_DECAY,
    Extras,
    fit_contextual_on_rows,
    new_contextual_trainer,
)
from services.cg.offline.contextual_rows import RowsToTowerBatch
from services.cg.offline.contextual_training import ContextualTrainer, NegativeShares
from services.cg.offline.pin_inputs import pin_features
from services.cg.offline.rows_task import Periods, RowsTask, in_period, negative_loss, validation_batches
from services.cg.offline.shopping_rows import Period
from services.cg.offline.tower_batch import TowerBatch
from services.cg.offline.training_runtime import Runtime
from services.cg.outbound.bundle_model_files import contextual_files

PROTOCOL = "first_choice_of_held_out_time"
REQUESTS_PER_BATCH = 128
NUM_EPOCHS = 8
CUTS = (10, 100)


@dataclass(frozen=True)
class _Rows:
    """A dataset's pins, and its rows as batches of one period."""

    dataset: Dataset
    pin_ids: tuple[str, ...]
    pins: PinFeatures
    periods: Periods

    def to_batch(self, length: int, period: Period) -> "_InPeriod":
        return _InPeriod({pin_id: row for row, pin_id in enumerate(self.pin_ids)}, length, period)


class _InPeriod(RowsToTowerBatch):
    """Requests of other times give nothing."""

    def __init__(self, row_of_pin: Mapping[str, int], length: int, period: Period) -> None:
        super().__init__(row_of_pin, length)
        self._period = period

    def __call__(self, rows: RequestBatch) -> TowerBatch:
        return super().__call__(in_period(rows, self._period))


@dataclass(frozen=True)
class FittedContextual:
    """See FittedRows."""

    trainer: ContextualTrainer
    rows: _Rows

    @property
    def model(self) -> nn.Module:
        """Both towers."""
        return self.trainer.model

    @property
    def shares(self) -> NegativeShares:
        """Of same-user negatives."""
        return self.trainer.shares

    def evaluation(self) -> dict[str, Any]:
        """Recall of each person's first choice of the held-out time, and the share of same-user negatives."""
        shares, test = self.trainer.shares, self.rows.periods.test
        report: dict[str, Any] = {
            "same_user_negative_share": {"before_mask": shares.before, "after_mask": shares.after},
        }
        found_Q = np.zeros(0, dtype=np.int64) if test is None else self._ranks(test)
        if len(found_Q):
            intervals = {f"recall@{k}_interval": asdict(bootstrap_interval(hits(found_Q, k))) for k in CUTS}
            report[PROTOCOL] = {"contextual": {**summarise_ranks(found_Q), **intervals}}
        return report

    def _ranks(self, test: Period) -> Ints:
        """Among all pins that the person had not met, without a context."""
        length = self.trainer.model.settings.max_history
        to_batch, asked_of, found = self.rows.to_batch(length, test), set(), []
        item_PV = self.trainer.item_vectors()
        for rows in self.rows.dataset.training_rows(ReadOptions(REQUESTS_PER_BATCH)):
            batch = to_batch(rows)
            pin_RL, request_B = batch.pin_RL.numpy(), batch.row_to_request_B.numpy()
            if not len(request_B):
                continue
            window = HistoryWindow(pin_RL, batch.type_RL.numpy(), np.zeros_like(pin_RL))
            user_RV = self.trainer.user_vectors(self.trainer.hidden(window))
            for user, request, label in zip(batch.user_id_B.tolist(), request_B, batch.target_B.tolist(), strict=True):
                if user in asked_of or label in pin_RL[request]:
                    continue
                asked_of.add(user)
                is_unseen_P = np.ones(len(item_PV), dtype=np.bool_)
                is_unseen_P[pin_RL[request][pin_RL[request] >= 0]] = False
                found.append(rank_of_label(item_PV @ user_RV[request], label, is_unseen_P))
        return np.asarray(found, dtype=np.int64)

    def files(self, evaluation: Mapping[str, Any]) -> Mapping[str, bytes]:
        """Of the bundle `contextual`."""
        return contextual_files(self.trainer.model, self.rows.pin_ids, ENGAGEMENT_TYPES, evaluation)


def fit_contextual_task(
    task: RowsTask, runtime: Runtime, progress: Progress = silent, *, is_trained_elsewhere: bool = False
) -> FittedContextual:
    """See Fit. Raises: NotFound without training rows."""
    dataset = task.open()
    pins = from_tables(task.generator, dataset.histories(), dataset.pins(), None).pins
    rows = _Rows(dataset, pins.pin_ids, pin_features(pins), task.periods(dataset))
    length = int(task.settings.get("max_history", ContextualSettings.max_history))
    to_batch = rows.to_batch(length, rows.periods.learnt)
    extras = Extras(settings=task.settings, progress=progress, checkpoint=task.saved_by(runtime), runtime=runtime)
    plan = TrainingPlan(task.num_epochs or NUM_EPOCHS, REQUESTS_PER_BATCH, LEARNING_RATE, WEIGHT_DECAY, task.seed)
    if is_trained_elsewhere:
        return FittedContextual(new_contextual_trainer(to_batch.num_event_types, rows.pins, plan, extras), rows)
    if rows.periods.validation is not None and task.patience:
        extras = replace(extras, validate=_Validation(rows, length, runtime))
        plan = replace(plan, patience=task.patience)
    reader = dataset.training_rows(ReadOptions(REQUESTS_PER_BATCH, seed=task.seed))
    num_requests = len(dataset.served().column("request_id").unique())
    num_batches = max(1, -(-num_requests // REQUESTS_PER_BATCH))
    return FittedContextual(
        fit_contextual_on_rows(reader, num_batches, to_batch, rows.pins, plan, extras),
        rows,
    )


class _Validation:
    """The loss of later rows, negated."""

    def __init__(self, rows: _Rows, length: int, runtime: Runtime) -> None:
        if rows.periods.validation is None:
            raise ValueError("nothing is held out")
        to_batch = rows.to_batch(length, rows.periods.validation)
        reader = rows.dataset.training_rows(ReadOptions(REQUESTS_PER_BATCH))
        self._batches = validation_batches(reader, rows.periods.validation, lambda each: to_batch(runtime.share(each)))

    def __call__(self, trainer: ContextualTrainer) -> float:
        return negative_loss(float(trainer.loss(batch)) for batch in self._batches)
