"""Fits the ranking model on training requests.

Shapes: B requests of a batch, L history positions, C candidates, H heads, P pins.
"""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from modeling.arrays import AnyArray, Ints
from modeling.interactions import Interactions
from modeling.training import Progress, TrainingPlan, seed_everything, silent, train
from services.ranker.domain.features import EVENT_TYPE_ROW, UNKNOWN_AGE_S, score_name
from services.ranker.domain.history_ranker import HistoryRanker, RankerSettings
from services.ranker.offline import next_action
from services.ranker.offline.examples import PADDING, Requests
from services.ranker.offline.next_action import NextAction
from services.ranker.offline.pin_columns import PinColumns

LISTWISE_WEIGHT = 1.0


class RequestTensors:
    """Turns rows of `Requests` into the model's named inputs, with the same meaning as in serving."""

    def __init__(
        self, requests: Requests, pins: PinColumns, interactions: Interactions, settings: RankerSettings
    ) -> None:
        self._requests = requests
        self._pins = pins
        self._settings = settings
        rows = [0] + [EVENT_TYPE_ROW.get(name, 0) for name in interactions.event_types]
        self._type_row = np.asarray(rows, dtype=np.int64)

    def inputs(self, row_B: Ints) -> dict[str, Tensor]:
        """Named tensors with a leading request axis."""
        window, time_ms_B1 = self._requests.window, self._requests.time_ms_R[row_B][:, None]
        history_BL, is_real_BL = np.maximum(window.pin_BL[row_B], 0), window.is_real[row_B]
        pin_BC = np.maximum(self._requests.pin_RC[row_B], 0)
        created_ms_BC = self._pins.created_ms_P[pin_BC]
        age_s_BC = np.where(created_ms_BC > 0, np.maximum(time_ms_B1 - created_ms_BC, 0) / 1_000.0, UNKNOWN_AGE_S)
        arrays: dict[str, AnyArray] = {
            "history_pin": self._pins.hash_P[history_BL] * is_real_BL,
            "history_content": self._pins.content_PW[history_BL] * is_real_BL[..., None],
            "history_event_type": self._type_row[window.type_BL[row_B]],
            "history_age_s": ((time_ms_B1 - window.time_ms_BL[row_B]) / 1_000.0 * is_real_BL).astype(np.float32),
            "candidate_pin": self._pins.hash_P[pin_BC],
            "candidate_content": self._pins.content_PW[pin_BC],
            "candidate_age_s": age_s_BC.astype(np.float32),
            "candidate_price": self._pins.price_P[pin_BC],
            "surface": np.broadcast_to(self._requests.surface_R[row_B][:, None], pin_BC.shape),
        }
        for column, generator in enumerate(self._settings.generators):
            arrays[score_name(generator)] = self._requests.score_RCG[row_B][..., column]
        return {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in arrays.items()}


def fit(
    model: nn.Module, requests: Requests, tensors: RequestTensors, plan: TrainingPlan, progress: Progress = silent
) -> None:
    """Train in place: cross entropy of every head, plus a listwise softmax over the candidates of a request.

    The ranker also learns to foresee the next action.
    """
    seed_everything(plan.seed)
    label_RCH, is_real_RC = torch.from_numpy(requests.label_RCH), torch.from_numpy(requests.pin_RC != PADDING)
    foresight = NextAction(requests)

    def loss(row_B: Ints) -> Tensor:
        rows, inputs = torch.from_numpy(row_B), tensors.inputs(row_B)
        if not isinstance(model, HistoryRanker):
            return ranking_loss(model(inputs), label_RCH[rows], is_real_RC[rows])
        contexts = [model.encode_history(inputs)]
        ranked = ranking_loss(model.score_candidates(inputs, contexts), label_RCH[rows], is_real_RC[rows])
        foreseen = foresight.loss(model, model.next_state(inputs, contexts), inputs, row_B)
        return ranked + next_action.WEIGHT * foreseen

    train(model, len(requests), loss, plan, phase="ranker", progress=progress)


def ranking_loss(logit_BCH: Tensor, label_BCH: Tensor, is_real_BC: Tensor) -> Tensor:
    """Mean over real candidates and heads, plus the softmax over each request's candidates, weighted."""
    pointwise = functional.binary_cross_entropy_with_logits(logit_BCH, label_BCH, reduction="none").sum(-1)
    pointwise = (pointwise * is_real_BC).sum() / is_real_BC.sum().clamp(min=1)
    masked_BCH = logit_BCH.masked_fill(~is_real_BC[..., None], torch.finfo(logit_BCH.dtype).min)
    share_BCH = label_BCH / label_BCH.sum(dim=1, keepdim=True).clamp(min=1)
    listwise = -(share_BCH * torch.log_softmax(masked_BCH, dim=1)).sum(dim=1)
    return pointwise + LISTWISE_WEIGHT * listwise.sum() / label_BCH.any(dim=1).sum().clamp(min=1)
