"""Fits the ranking model on training requests.

Shapes: B requests of a batch, L history positions, C candidates, H heads, K pins, W content width.
"""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from modeling.arrays import AnyArray, Ints
from modeling.history_window import HistoryWindow
from modeling.interactions import Interactions
from modeling.training import NONE, Progress, Surroundings, TrainingPlan, seed_everything, silent, train
from services.ranker.domain.features import EVENT_TYPE_ROW, UNKNOWN_AGE_S, score_name
from services.ranker.domain.history_ranker import RankerSettings
from services.ranker.offline.examples import PADDING, Requests
from services.ranker.offline.pin_columns import PinColumns

LISTWISE_WEIGHT = 1.0


class HistoryTensors:
    """Turns windows of events into the model's named inputs, with the same meaning as in serving."""

    def __init__(self, pins: PinColumns, interactions: Interactions) -> None:
        self.pins = pins
        rows = [0] + [EVENT_TYPE_ROW.get(name, 0) for name in interactions.event_types]
        self._type_row = np.asarray(rows, dtype=np.int64)

    def history(self, window: HistoryWindow, now_ms_B: Ints) -> dict[str, Tensor]:
        """What is said of the events, as of `now_ms_B`."""
        pin_BL, is_real_BL = np.maximum(window.pin_BL, 0), window.is_real
        age_s_BL = (now_ms_B[:, None] - window.time_ms_BL) / 1_000.0 * is_real_BL
        return _as_tensors(
            {
                "history_pin": self.pins.hash_P[pin_BL] * is_real_BL,
                "history_content": self.pins.content_PW[pin_BL] * is_real_BL[..., None],
                "history_event_type": self._type_row[window.type_BL],
                "history_age_s": age_s_BL.astype(np.float32),
            }
        )

    def pins_of(self, pin_K: Tensor) -> tuple[Tensor, Tensor]:
        """Hashed ids [K] and content [K, W]."""
        return torch.from_numpy(self.pins.hash_P)[pin_K], torch.from_numpy(self.pins.content_PW)[pin_K]


class RequestTensors:
    """Turns rows of `Requests` into the model's named inputs."""

    def __init__(self, requests: Requests, histories: HistoryTensors, settings: RankerSettings) -> None:
        self._requests = requests
        self._histories = histories
        self._settings = settings

    def inputs(self, row_B: Ints) -> dict[str, Tensor]:
        """Named tensors with a leading request axis."""
        requests, pins = self._requests.take(row_B), self._histories.pins
        pin_BC = np.maximum(requests.pin_RC, 0)
        created_ms_BC = pins.created_ms_P[pin_BC]
        age_s_BC = np.maximum(requests.time_ms_R[:, None] - created_ms_BC, 0) / 1_000.0
        candidates: dict[str, AnyArray] = {
            "candidate_pin": pins.hash_P[pin_BC],
            "candidate_content": pins.content_PW[pin_BC],
            "candidate_age_s": np.where(created_ms_BC > 0, age_s_BC, UNKNOWN_AGE_S).astype(np.float32),
            "candidate_price": pins.price_P[pin_BC],
            "surface": np.broadcast_to(requests.surface_R[:, None], pin_BC.shape),
        }
        for column, generator in enumerate(self._settings.generators):
            candidates[score_name(generator)] = requests.score_RCG[..., column]
        return self._histories.history(requests.window, requests.time_ms_R) | _as_tensors(candidates)


def _as_tensors(arrays: Mapping[str, AnyArray]) -> dict[str, Tensor]:
    return {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in arrays.items()}


def fit(
    model: nn.Module,
    requests: Requests,
    tensors: RequestTensors,
    plan: TrainingPlan,
    progress: Progress = silent,
    beside: Callable[[], Tensor] | None = None,
    around: Surroundings = NONE,
) -> None:
    """Train in place: cross entropy of every head, plus a listwise softmax over the candidates of a request.

    `beside` is added to the loss of each step.
    """
    seed_everything(plan.seed)
    label_RCH, is_real_RC = torch.from_numpy(requests.label_RCH), torch.from_numpy(requests.pin_RC != PADDING)

    def loss(row_B: Ints) -> Tensor:
        rows = torch.from_numpy(row_B)
        ranked = ranking_loss(model(tensors.inputs(row_B)), label_RCH[rows], is_real_RC[rows])
        return ranked + beside() if beside else ranked

    train(model, len(requests), loss, plan, phase="ranker", progress=progress, surroundings=around)


def ranking_loss(logit_BCH: Tensor, label_BCH: Tensor, is_real_BC: Tensor) -> Tensor:
    """Mean over real candidates and heads, plus the softmax over each request's candidates, weighted."""
    pointwise = functional.binary_cross_entropy_with_logits(logit_BCH, label_BCH, reduction="none").sum(-1)
    pointwise = (pointwise * is_real_BC).sum() / is_real_BC.sum().clamp(min=1)
    masked_BCH = logit_BCH.masked_fill(~is_real_BC[..., None], torch.finfo(logit_BCH.dtype).min)
    share_BCH = label_BCH / label_BCH.sum(dim=1, keepdim=True).clamp(min=1)
    listwise = -(share_BCH * torch.log_softmax(masked_BCH, dim=1)).sum(dim=1)
    return pointwise + LISTWISE_WEIGHT * listwise.sum() / label_BCH.any(dim=1).sum().clamp(min=1)
