"""Learning to foresee: what comes after each event of a history, from all events at once, before anything is ranked.

As PinFM (arXiv 2507.12704) does, the sequence model first learns from histories alone, which say far more than the few
candidates of a request, and is then tuned with the rest of the ranker; the same loss goes on beside ranking.
Shapes: B windows, L events of a window, N events that a new pin follows, D width, P pins, K pins to choose from.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from modeling.arrays import Ints
from modeling.history_window import HistoryWindow, windows_before
from modeling.interactions import Interactions
from modeling.training import NONE, Progress, Surroundings, TrainingPlan, silent, train
from services.ranker.domain.history_ranker import HistoryRanker
from services.ranker.offline.baselines import SasRec
from services.ranker.offline.fitting import HistoryTensors

LENGTH = 64  # events of a window
STEP = 32  # from window to window: each event is foreseen twice per epoch, with other pasts
MAX_CHOICES = 8_192  # pins that one is told from; of more a random part, beside those of the batch
BATCH_SIZE = 32
LEARNING_RATE = 2e-3
BESIDE_WEIGHT = 0.1  # of the loss that goes on beside ranking, over few windows per step
BESIDE_WINDOWS = 8

# A model with a state per event, whose product with a pin's row says how likely that pin comes next.
Foreseeing = HistoryRanker | SasRec


@dataclass(frozen=True)
class Foresight:
    """Windows over the histories of all users."""

    window: HistoryWindow
    next_pin_BL: Ints  # -1 = padding, or a pin that the user had met before
    share_P: Tensor  # of each pin among the next ones
    tensors: HistoryTensors

    def __len__(self) -> int:
        return len(self.next_pin_BL)

    def loss(self, model: Foreseeing, row_B: Ints) -> Tensor:
        """Softmax over the pins there are, mean over events that are followed by a new pin."""
        next_BL = torch.from_numpy(self.next_pin_BL[row_B])
        now_ms_B = self.window.time_ms_BL[row_B, -1]
        state_BLD = model.event_states(self.tensors.history(self.window.take(row_B), now_ms_B))
        state_ND, next_N = state_BLD[next_BL >= 0], next_BL[next_BL >= 0]
        if not len(next_N):
            return state_BLD.sum() * 0.0
        choice_K, place_N, log_chance_K = self._choices(next_N)
        row_KD = model.pin_rows(*self.tensors.pins_of(choice_K))
        logit_NK = state_ND @ row_KD.T / row_KD.shape[-1] ** 0.5
        # Each of the others stands for all of its kind that were not drawn; the true one is always there.
        kept_N1 = log_chance_K[place_N][:, None]
        logit_NK = (logit_NK - log_chance_K).scatter_add(1, place_N[:, None], kept_N1)
        return functional.cross_entropy(logit_NK, place_N)

    def _choices(self, next_N: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Pins to choose from, the place of each true one among them, and the log of each one's chance to be there."""
        num_pins = len(self.share_P)
        if num_pins <= MAX_CHOICES:
            return torch.arange(num_pins), next_N, torch.zeros(num_pins)
        own, place_N = torch.unique(next_N, return_inverse=True)
        num_others = max(0, MAX_CHOICES - len(own))
        others = torch.randint(num_pins, (num_others,))
        choice_K = torch.cat([own, others[~torch.isin(others, own)]])
        chance_K = len(next_N) * self.share_P[choice_K] + num_others / num_pins
        return choice_K, place_N, chance_K.clamp(max=1.0).log()


def foresight_over(events: Interactions, tensors: HistoryTensors) -> Foresight:
    """Windows that end at every user's last event but one and, from there back, every `STEP` events."""
    ends = [
        np.arange(last, first, -STEP) for first, last in zip(events.starts[:-1], events.starts[1:] - 1, strict=True)
    ]
    end_B = np.concatenate([*ends, np.zeros(0, dtype=np.int64)]).astype(np.int64)
    window = windows_before(events, end_B, LENGTH)
    next_BL = end_B[:, None] - np.arange(LENGTH - 1, -1, -1)
    is_followed_BL = window.is_real & events.is_new[np.maximum(next_BL, 0)]
    next_pin_BL = np.where(is_followed_BL, events.pin_E[np.maximum(next_BL, 0)], -1)
    count_P = np.bincount(next_pin_BL[next_pin_BL >= 0], minlength=len(tensors.pins.hash_P))
    share_P = torch.from_numpy(count_P / max(1, count_P.sum())).float()
    return Foresight(window, next_pin_BL, share_P, tensors)


def learn_to_foresee(
    model: Foreseeing,
    foresight: Foresight,
    plan: TrainingPlan,
    progress: Progress = silent,
    around: Surroundings = NONE,
) -> None:
    """Train in place."""
    if len(foresight) and plan.num_epochs:
        train(
            model,
            len(foresight),
            lambda row_B: foresight.loss(model, row_B),
            plan,
            phase="foresight",
            progress=progress,
            surroundings=around,
        )


def foresight_plan(num_epochs: int, seed: int) -> TrainingPlan:
    """How it is learnt, whatever the model."""
    return TrainingPlan(num_epochs, BATCH_SIZE, LEARNING_RATE, seed=seed)


class BesideRanking:
    """The same loss over a few windows at random, weighted, for each step of another training."""

    def __init__(self, model: Foreseeing, foresight: Foresight, seed: int) -> None:
        self._model, self._foresight = model, foresight
        self._random = np.random.default_rng(seed)

    def __call__(self) -> Tensor:
        """Zero without windows."""
        if not len(self._foresight):
            return torch.zeros(())
        row_B = self._random.integers(0, len(self._foresight), BESIDE_WINDOWS)
        return BESIDE_WEIGHT * self._foresight.loss(self._model, row_B)

    def state_dict(self) -> dict[str, Any]:
        """Which windows come next."""
        state = self._random.bit_generator.state
        return {**state, "state": {name: str(number) for name, number in state["state"].items()}}  # of 128 bits

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on there."""
        numbers = {name: int(number) for name, number in state["state"].items()}
        self._random.bit_generator.state = {**state, "state": numbers}
