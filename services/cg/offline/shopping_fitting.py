"""Trains a shopping two-tower from training rows, through the deduplicated reader."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from modeling.batches import Batches
from modeling.checkpoint import Checkpoint, Stateful
from modeling.interactions import ENGAGEMENT_TYPES
from modeling.training import Progress, Surroundings, TrainingPlan, seed_everything, silent, train_on
from sequences.request_batch import RequestBatch
from sequences.training_reader import ReadOptions
from services.cg.domain.shopping_features import group_of_types
from services.cg.domain.two_tower_shopping import ShoppingSettings, ShoppingTwoTower
from services.cg.offline.shopping_batch import ShoppingBatch
from services.cg.offline.shopping_data import ShoppingData
from services.cg.offline.shopping_rows import EVERYTHING, RowChoice, RowsToShoppingBatch
from services.cg.offline.shopping_training import DEFAULT_WEIGHTS, LossWeights, ShoppingTrainer
from services.cg.offline.training_runtime import HERE, Runtime

PHASE = "shopping"
REQUESTS_PER_BATCH = 256
NUM_EPOCHS = 4  # conversion recall no longer grows behind it
LEARNING_RATE = 2e-3
WEIGHT_DECAY = 0.01


@dataclass(frozen=True)
class Recipe:
    """What is learnt from, with which loss, and settings of the model that are not the usual ones."""

    choice: RowChoice = EVERYTHING
    weights: LossWeights = DEFAULT_WEIGHTS
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Watch:
    """What happens beside the training: progress, a checkpoint, a score that may end it early."""

    progress: Progress = silent
    checkpoint: Checkpoint | None = None
    validate: Callable[[ShoppingTrainer], float] | None = None


USUAL, UNWATCHED = Recipe(), Watch()


def plan_for(seed: int, num_epochs: int = NUM_EPOCHS) -> TrainingPlan:
    """The usual plan."""
    return TrainingPlan(num_epochs, REQUESTS_PER_BATCH, LEARNING_RATE, WEIGHT_DECAY, seed)


def new_trainer(data: ShoppingData, seed: int, recipe: Recipe = USUAL, runtime: Runtime = HERE) -> ShoppingTrainer:
    """An untrained model. The same seed gives the same weights on every device."""
    seed_everything(seed)
    width = data.features.pins.content_PC.shape[1]
    groups = tuple(group_of_types(ENGAGEMENT_TYPES))
    settings = replace(ShoppingSettings(len(data.pin_ids), width, len(groups), groups), **recipe.settings)
    model = ShoppingTwoTower(settings).to(runtime.device)
    return ShoppingTrainer(model, data.features, recipe.weights, runtime.gather)


def rows_to_batch(data: ShoppingData, trainer: ShoppingTrainer, choice: RowChoice) -> RowsToShoppingBatch:
    """For histories as long as the model reads them."""
    return RowsToShoppingBatch(data.inventory, data.durations, trainer.model.settings.max_history, choice)


def fit_shopping(
    data: ShoppingData,
    plan: TrainingPlan,
    recipe: Recipe = USUAL,
    watch: Watch = UNWATCHED,
    runtime: Runtime = HERE,
) -> ShoppingTrainer:
    """From training rows. With other workers each takes its share of every batch."""
    trainer = new_trainer(data, plan.seed, recipe, runtime)
    to_batch = rows_to_batch(data, trainer, recipe.choice)
    reader = data.dataset.training_rows(ReadOptions(plan.batch_size, seed=plan.seed))
    batches: Batches[RequestBatch] = reader
    num_batches = num_batches_of(data, plan.batch_size)
    return fit_on_batches(
        trainer, batches, num_batches, lambda rows: to_batch(runtime.share(rows)), plan, watch, runtime
    )


def fit_on_batches(
    trainer: ShoppingTrainer,
    batches: Batches[Any],
    num_batches: int,
    to_batch: Callable[[Any], ShoppingBatch],
    plan: TrainingPlan,
    watch: Watch = UNWATCHED,
    runtime: Runtime = HERE,
) -> ShoppingTrainer:
    """From any source of batches."""
    validate = watch.validate
    parts: dict[str, Stateful] = {"frequency": trainer.frequency, "shares": trainer.shares}
    surroundings = Surroundings(
        validate=None if validate is None else lambda: validate(trainer),
        checkpoint=watch.checkpoint,
        parts=parts,
        after_backward=runtime.after_backward,
        stepped=runtime.stepped,
    )
    train_on(
        trainer.model,
        batches,
        num_batches,
        lambda rows: trainer.loss(to_batch(rows)),
        plan,
        phase=PHASE,
        progress=watch.progress,
        surroundings=surroundings,
    )
    return trainer


def num_batches_of(data: ShoppingData, batch_size: int) -> int:
    """About: the last batch of a window of blocks may be smaller."""
    num_requests = len(data.dataset.served().column("request_id").unique())
    return max(1, -(-num_requests // batch_size))


class KeptBatches:
    """Batches that were read once, in another order in each epoch: for many trainings on the same rows."""

    def __init__(self, batches: list[ShoppingBatch], seed: int) -> None:
        self._batches, self._seed = batches, seed
        self._epoch = self._num_done = 0

    def __iter__(self) -> Iterator[ShoppingBatch]:
        """The rest of the epoch."""
        order = np.random.default_rng([self._seed, self._epoch]).permutation(len(self._batches))
        while self._num_done < len(order):
            self._num_done += 1
            yield self._batches[order[self._num_done - 1]]
        self._epoch, self._num_done = self._epoch + 1, 0

    def state_dict(self) -> dict[str, int]:
        """Where the next batch begins."""
        return {"epoch": self._epoch, "num_done": self._num_done}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on there."""
        self._epoch, self._num_done = int(state["epoch"]), int(state["num_done"])
