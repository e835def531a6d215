"""The shopping tower trained, judged and put into files as one task."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from torch import nn

from modeling.evaluation import hits, summarise_ranks
from modeling.interactions import ENGAGEMENT_TYPES
from modeling.intervals import bootstrap_interval
from modeling.training import Progress, silent
from sequences.training_reader import ReadOptions
from services.cg.offline.contextual_training import NegativeShares
from services.cg.offline.rows_task import Periods, RowsTask, negative_loss, validation_batches
from services.cg.offline.shopping_data import ShoppingData, open_shopping_data
from services.cg.offline.shopping_evaluation import (
    CUTS,
    Questions,
    counts_of_conversions,
    first_conversions,
    ranks,
    ranks_of_conversions,
)
from services.cg.offline.shopping_fitting import NUM_EPOCHS, Recipe, Watch, fit_shopping, new_trainer, plan_for
from services.cg.offline.shopping_rows import RowChoice, RowsToShoppingBatch
from services.cg.offline.shopping_training import ShoppingTrainer
from services.cg.offline.training_runtime import Runtime
from services.cg.outbound.bundle_model_files import shopping_files

PROTOCOL = "first_conversion_of_held_out_time"


@dataclass(frozen=True)
class FittedShopping:
    """See FittedRows."""

    trainer: ShoppingTrainer
    data: ShoppingData
    periods: Periods

    @property
    def model(self) -> nn.Module:
        """Both towers."""
        return self.trainer.model

    @property
    def shares(self) -> NegativeShares:
        """Of same-user negatives."""
        return self.trainer.shares

    def evaluation(self) -> dict[str, Any]:
        """Conversion recall beside popularity, and the share of same-user negatives."""
        shares = self.trainer.shares
        report: dict[str, Any] = {
            "same_user_negative_share": {"before_mask": shares.before, "after_mask": shares.after},
        }
        if self.periods.test is None:
            return report
        questions = first_conversions(self.data, self.periods.test, self.trainer.model.settings.max_history)
        if len(questions.label_Q):
            report[PROTOCOL] = self._recalls(questions)
        return report

    def _recalls(self, questions: Questions) -> dict[str, Any]:
        count_A = counts_of_conversions(self.data, self.periods.learnt)
        popular_Q = ranks(np.broadcast_to(count_A, (len(questions.label_Q), len(count_A))), questions)
        found_Q = ranks_of_conversions(self.trainer, self.data, questions)
        intervals = {f"recall@{k}_interval": asdict(bootstrap_interval(hits(found_Q, k))) for k in CUTS}
        return {
            "shopping": {**summarise_ranks(found_Q), **intervals},
            "popularity": summarise_ranks(popular_Q),
            "num_ads": len(self.data.ads),
        }

    def files(self, evaluation: Mapping[str, Any]) -> Mapping[str, bytes]:
        """Of the bundle `shopping`."""
        return shopping_files(self.trainer.model, self.data.pin_ids, ENGAGEMENT_TYPES, evaluation)


def fit_shopping_task(
    task: RowsTask, runtime: Runtime, progress: Progress = silent, *, is_trained_elsewhere: bool = False
) -> FittedShopping:
    """See Fit. Raises: Invalid without ads, NotFound without training rows."""
    data = open_shopping_data(task.open())
    periods = task.periods(data.dataset)
    recipe = Recipe(RowChoice(periods.learnt), settings=task.settings)
    if is_trained_elsewhere:
        return FittedShopping(new_trainer(data, task.seed, recipe, runtime), data, periods)
    plan = plan_for(task.seed, task.num_epochs or NUM_EPOCHS)
    watch = Watch(progress, task.saved_by(runtime))
    if periods.validation is not None and task.patience:
        length = new_trainer(data, task.seed, recipe, runtime).model.settings.max_history
        watch = replace(watch, validate=_Validation(data, periods, length, runtime))
        plan = replace(plan, patience=task.patience)
    return FittedShopping(fit_shopping(data, plan, recipe, watch, runtime), data, periods)


class _Validation:
    """The loss of later rows, negated."""

    def __init__(self, data: ShoppingData, periods: Periods, length: int, runtime: Runtime) -> None:
        if periods.validation is None:
            raise ValueError("nothing is held out")
        to_batch = RowsToShoppingBatch(data.inventory, data.durations, length, RowChoice(periods.validation))
        reader = data.dataset.training_rows(ReadOptions(plan_for(0).batch_size))
        self._batches = validation_batches(reader, periods.validation, lambda rows: to_batch(runtime.share(rows)))

    def __call__(self, trainer: ShoppingTrainer) -> float:
        return negative_loss(float(trainer.loss(batch)) for batch in self._batches)
