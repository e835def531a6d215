"""Fits the two-tower model on engagement events.

Shapes: E events, B rows of a batch, L history positions, P pins.
"""

import numpy as np
import torch
from torch import Tensor

from modeling.arrays import Floats, Ints
from modeling.history_window import HistoryWindow, windows_at_end, windows_before
from modeling.interactions import Interactions
from modeling.sampled_softmax import sampled_softmax
from modeling.training import Progress, TrainingPlan, seed_everything, silent, train
from services.cg.domain.two_tower import TwoTower, TwoTowerSettings
from services.cg.domain.two_tower_features import PinFeatures

BATCH_SIZE = 512
TARGET_STEPS = 300  # ten seconds on one core; 600 beat item-to-item models on 100 k events
MIN_EPOCHS, MAX_EPOCHS = 3, 12
LEARNING_RATE = 4e-3
NO_HISTORY_SHARE = 0.02  # rows whose history is hidden, so that the "no history" vector is learned


class TwoTowerTrainer:
    """Holds the tensors that do not change between steps."""

    def __init__(self, model: TwoTower, interactions: Interactions, pins: PinFeatures) -> None:
        self.model = model
        self._interactions = interactions
        self._pins = tuple(torch.from_numpy(column) for column in (pins.id_row_P, pins.content_PC, pins.topic_PT))
        share_P = np.bincount(interactions.pin_E, minlength=interactions.num_pins) / max(1, len(interactions.pin_E))
        self._log_q_P = torch.from_numpy(np.log(np.maximum(share_P, 1e-9)).astype(np.float32))

    def loss(self, event_B: Ints) -> Tensor:
        """Sampled softmax of these events against the other pins of the batch."""
        target_B = torch.from_numpy(self._interactions.pin_E[event_B])
        pins_PD = self.model.embed_pins(*self._pins)
        users_BV = self._users(pins_PD, windows_before(self._interactions, event_B, self.model.settings.max_history))
        items_BV = self.model.item_vectors(pins_PD[target_B])
        user_B = torch.from_numpy(self._interactions.user_E[event_B])
        return sampled_softmax(users_BV, items_BV, self._log_q_P[target_B], user_B, target_B)

    def _users(self, pins_PD: Tensor, window: HistoryWindow) -> Tensor:
        is_real_BL = window.is_real
        if self.model.training:
            is_real_BL = is_real_BL & (torch.rand(len(is_real_BL), 1).numpy() >= NO_HISTORY_SHARE)
        pins_BLD = pins_PD[torch.from_numpy(np.maximum(window.pin_BL, 0))]
        return self.model.user_vectors(pins_BLD, torch.from_numpy(window.type_BL), torch.from_numpy(is_real_BL))

    @torch.no_grad()
    def vectors(self) -> tuple[Floats, Floats]:
        """Vectors of every user (after the last event) and of every pin."""
        self.model.eval()
        pins_PD = self.model.embed_pins(*self._pins)
        window = windows_at_end(self._interactions, self.model.settings.max_history)
        return self._users(pins_PD, window).numpy(), self.model.item_vectors(pins_PD).numpy()


def fit(
    interactions: Interactions,
    pins: PinFeatures,
    plan: TrainingPlan,
    *,
    progress: Progress = silent,
    model: TwoTower | None = None,
) -> tuple[TwoTower, TwoTowerTrainer]:
    """A model trained to foresee each user's new pins; pass `model` to go on from one."""
    seed_everything(plan.seed)
    if model is None:
        model = TwoTower(
            TwoTowerSettings(interactions.num_pins, pins.content_PC.shape[1], len(interactions.event_types))
        )
    trainer = TwoTowerTrainer(model, interactions, pins)
    new_E = np.flatnonzero(interactions.is_new)
    train(model, len(new_E), lambda row_B: trainer.loss(new_E[row_B]), plan, phase="two_tower", progress=progress)
    return model, trainer


def plain_plan(num_events: int, seed: int) -> TrainingPlan:
    """About `TARGET_STEPS` steps, in whole epochs."""
    steps_per_epoch = max(1, -(-num_events // BATCH_SIZE))
    num_epochs = int(np.clip(round(TARGET_STEPS / steps_per_epoch), MIN_EPOCHS, MAX_EPOCHS))
    return TrainingPlan(num_epochs, BATCH_SIZE, LEARNING_RATE, seed=seed)
