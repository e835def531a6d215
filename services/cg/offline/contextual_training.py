"""Fits the contextual two-tower: the Transformer once per history, the head once per positive.

Shapes: R requests, L history positions, B positives, P pins, K pins of a batch.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from modeling.arrays import Floats, Ints
from modeling.history_window import HistoryWindow
from modeling.joint_rows import Gather, alone
from modeling.sampled_softmax import NegativeShare, false_negatives, negative_share, sampled_softmax
from modeling.streaming_frequency import StreamingFrequency
from services.cg.domain.two_tower_contextual import ContextualTwoTower, PinTensors
from services.cg.domain.two_tower_features import PinFeatures, interest_confidence
from services.cg.offline.tower_batch import TowerBatch

FREQUENCY_SLOTS = 1 << 17
ENCODE_ROWS = 512


@dataclass
class NegativeShares:
    """Mean share of same-user negatives over the batches of a training, before and after the mask."""

    num_batches: int = 0
    before: float = 0.0
    after: float = 0.0

    def add(self, share: NegativeShare) -> None:
        """One more batch."""
        self.num_batches += 1
        self.before += (share.before - self.before) / self.num_batches
        self.after += (share.after - self.after) / self.num_batches

    def state_dict(self) -> dict[str, float]:
        """For a checkpoint."""
        return {"num_batches": self.num_batches, "before": self.before, "after": self.after}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """From a checkpoint."""
        self.num_batches = int(state["num_batches"])
        self.before, self.after = state["before"], state["after"]


class ContextualTrainer:
    """The loss of a batch, and the vectors of a trained model, where the model is; `gather` brings others' rows."""

    def __init__(self, model: ContextualTwoTower, pins: PinFeatures, gather: Gather = alone) -> None:
        self.model, self._gather = model, gather
        self._device = next(model.parameters()).device
        self.frequency = StreamingFrequency(FREQUENCY_SLOTS)
        self.shares = NegativeShares()
        self._pins = pin_tensors(pins, model.settings.graph_width, next(model.parameters()).dtype).to(self._device)
        confidence = torch.from_numpy(interest_confidence(pins.topic_PT))
        self._confidence_PT = confidence.to(self._pins.content_PC)

    def loss(self, batch: TowerBatch) -> Tensor:
        """Sampled softmax of the positives against each other, each with its own interests as pseudo-context."""
        batch = batch.to(self._device)
        is_real_RL = batch.pin_RL >= 0
        asked = torch.cat([batch.pin_RL.clamp(min=0).flatten(), batch.target_B])
        pins_K, place = torch.unique(asked, return_inverse=True)
        pins_KD = self.model.embed_pins(self._pins.take(pins_K))
        history = pins_KD[place[: batch.pin_RL.numel()]].reshape(*batch.pin_RL.shape, pins_KD.shape[1])
        states_RLD = self.model.hidden_states(history, batch.type_RL, is_real_RL)
        hidden_BD = states_RLD[batch.row_to_request_B, batch.position_B.clamp(min=0)]
        hidden_BD = self.model.or_no_history(hidden_BD, batch.position_B >= 0)
        users_BV = self.model.user_vectors(hidden_BD, self._pseudo_context(batch.target_B))
        items_BV = self.model.item_vectors(pins_KD)[place[batch.pin_RL.numel() :]]
        return self._softmax(users_BV, items_BV, batch)

    def _softmax(self, users_BV: Tensor, items_BV: Tensor, batch: TowerBatch) -> Tensor:
        gather = self._gather
        users_BV, items_BV = gather(users_BV), gather(items_BV)
        user_id_B, target_B = gather(batch.user_id_B), gather(batch.target_B)
        if not len(target_B):
            return users_BV.sum()  # 0, with gradients of 0
        if self.model.training:
            self.frequency.update(target_B.cpu())
            dropped = false_negatives(user_id_B, target_B)
            self.shares.add(negative_share(user_id_B, dropped))
        log_q_B = self.frequency.log_q(target_B.cpu()).to(users_BV)
        return sampled_softmax(users_BV, items_BV, log_q_B, user_id_B, target_B)

    def _pseudo_context(self, target_B: Tensor) -> Tensor:
        """The label's interests, hidden from most rows so that the head does not live on them."""
        confidence_BT = self._confidence_PT[target_B]
        if self.model.training:
            is_kept_B = torch.rand(len(target_B)) >= self.model.settings.context_dropout
            confidence_BT = confidence_BT * is_kept_B[:, None].to(self._device)
        return self.model.context(self._pins.topic_PT[target_B], confidence_BT)

    @torch.no_grad()
    def item_vectors(self) -> Floats:
        """Of every pin [P, V]."""
        self.model.eval()
        return self._in_blocks(
            lambda rows: self.model.item_vectors(self.model.embed_pins(self._pins.take(rows))),
            len(self._pins.id_row_P),
        )

    @torch.no_grad()
    def hidden(self, window: HistoryWindow) -> Floats:
        """Hidden state after each window [B, D]: what is published for hybrid inference."""
        self.model.eval()
        pins_PD = self.model.embed_pins(self._pins)
        pin_BL, type_BL = (torch.from_numpy(each).to(self._device) for each in (window.pin_BL, window.type_BL))
        return self._in_blocks(
            lambda rows: self.model.last_hidden(pins_PD[pin_BL[rows].clamp(min=0)], type_BL[rows], pin_BL[rows] >= 0),
            len(pin_BL),
        )

    @torch.no_grad()
    def user_vectors(self, hidden_BD: Floats, subject_B: Ints | None = None) -> Floats:
        """The head over stored hidden states [B, V]; `subject_B` are pins, None or -1 = no context."""
        self.model.eval()
        subject = torch.from_numpy(np.full(len(hidden_BD), -1) if subject_B is None else subject_B).to(self._device)
        confidence_BT = self._confidence_PT[subject.clamp(min=0)] * (subject >= 0)[:, None]
        context_BD = self.model.context(self._pins.topic_PT[subject.clamp(min=0)], confidence_BT)
        hidden = torch.from_numpy(hidden_BD).to(self._device)
        return np.asarray(self.model.user_vectors(hidden, context_BD).cpu().numpy())

    def _in_blocks(self, encode: Callable[[Tensor], Tensor], num_rows: int) -> Floats:
        blocks = [encode(rows) for rows in torch.split(torch.arange(num_rows), ENCODE_ROWS)]
        return np.asarray(torch.cat(blocks).cpu().numpy())


def pin_tensors(pins: PinFeatures, graph_width: int, dtype: torch.dtype = torch.float32) -> PinTensors:
    """The same features as tensors; zeros for graph vectors that pins do not have."""
    graph_PG = np.zeros((len(pins.id_row_P), graph_width), np.float32) if pins.graph_PG is None else pins.graph_PG
    return PinTensors(
        torch.from_numpy(pins.id_row_P),
        torch.from_numpy(pins.content_PC).to(dtype),
        torch.from_numpy(graph_PG).to(dtype),
        torch.from_numpy(pins.topic_PT),
    )
