"""Trains a contextual two-tower from histories or from training rows, with one plan for both.

Shapes: W windows of histories.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from modeling.batches import Batches
from modeling.checkpoint import Checkpoint, Stateful
from modeling.interactions import Interactions
from modeling.training import Progress, Surroundings, TrainingPlan, seed_everything, silent, train, train_on
from sequences.training_reader import TrainingReader
from services.cg.domain.two_tower_contextual import ContextualSettings, ContextualTwoTower
from services.cg.domain.two_tower_features import PinFeatures
from services.cg.offline.contextual_rows import RowsToTowerBatch
from services.cg.offline.contextual_training import ContextualTrainer
from services.cg.offline.contextual_windows import HistoryWindows
from services.cg.offline.training_runtime import HERE, Runtime

PHASE = "contextual"
WINDOWS_PER_BATCH = 64
TARGET_STEPS = 600  # recall@100 of MovieLens-100K no longer grows behind it
MIN_EPOCHS, MAX_EPOCHS = 2, 40
LEARNING_RATE = 2e-3
WEIGHT_DECAY = 0.01


@dataclass(frozen=True)
class Extras:
    """What is optional in a training: a model to go on from, changed settings, progress, a checkpoint, a score that may
    end it early, a device and other workers."""

    model: ContextualTwoTower | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    progress: Progress = silent
    checkpoint: Checkpoint | None = None
    validate: Callable[[ContextualTrainer], float] | None = None
    runtime: Runtime = HERE


NO_EXTRAS = Extras()


def plan_for(interactions: Interactions, seed: int, target_steps: int = TARGET_STEPS) -> TrainingPlan:
    """About `target_steps` steps, in whole epochs."""
    num_windows = len(HistoryWindows(interactions, ContextualSettings.max_history))
    steps_per_epoch = max(1, -(-num_windows // WINDOWS_PER_BATCH))
    num_epochs = int(np.clip(round(target_steps / steps_per_epoch), MIN_EPOCHS, MAX_EPOCHS))
    return TrainingPlan(num_epochs, WINDOWS_PER_BATCH, LEARNING_RATE, WEIGHT_DECAY, seed)


def fit_contextual(
    interactions: Interactions, pins: PinFeatures, plan: TrainingPlan, extras: Extras = NO_EXTRAS
) -> ContextualTrainer:
    """From histories: a model that foresees each user's new pins."""
    trainer = new_contextual_trainer(len(interactions.event_types), pins, plan, extras)
    windows = HistoryWindows(interactions, trainer.model.settings.max_history)
    train(
        trainer.model,
        len(windows),
        lambda row_B: trainer.loss(windows.batch(row_B)),
        plan,
        phase=PHASE,
        progress=extras.progress,
        surroundings=_surroundings(trainer, extras),
    )
    return trainer


def fit_contextual_on_rows(
    reader: TrainingReader,
    num_batches: int,
    to_batch: RowsToTowerBatch,
    pins: PinFeatures,
    plan: TrainingPlan,
    extras: Extras = NO_EXTRAS,
) -> ContextualTrainer:
    """From training rows: what was served and acted upon, with the sequence as it was at that moment."""
    trainer = new_contextual_trainer(to_batch.num_event_types, pins, plan, extras)
    batches: Batches[Any] = reader
    train_on(
        trainer.model,
        batches,
        num_batches,
        lambda rows: trainer.loss(to_batch(extras.runtime.share(rows))),
        plan,
        phase=f"{PHASE} on rows",
        progress=extras.progress,
        surroundings=_surroundings(trainer, extras),
    )
    return trainer


def new_contextual_trainer(
    num_event_types: int, pins: PinFeatures, plan: TrainingPlan, extras: Extras
) -> ContextualTrainer:
    """An untrained model, or the one to go on from."""
    seed_everything(plan.seed)
    runtime = extras.runtime
    if extras.model is not None:
        return ContextualTrainer(extras.model.to(runtime.device), pins, runtime.gather)
    graph_width = 0 if pins.graph_PG is None else pins.graph_PG.shape[1]
    settings = ContextualSettings(len(pins.id_row_P), pins.content_PC.shape[1], num_event_types, graph_width)
    model = ContextualTwoTower(replace(settings, **extras.settings)).to(runtime.device)
    return ContextualTrainer(model, pins, runtime.gather)


def _surroundings(trainer: ContextualTrainer, extras: Extras) -> Surroundings:
    parts: dict[str, Stateful] = {"frequency": trainer.frequency, "shares": trainer.shares}
    validate, runtime = extras.validate, extras.runtime
    return Surroundings(
        validate=None if validate is None else lambda: validate(trainer),
        checkpoint=extras.checkpoint,
        parts=parts,
        after_backward=runtime.after_backward,
        stepped=runtime.stepped,
    )
