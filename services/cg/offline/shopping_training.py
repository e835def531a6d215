"""The loss of the shopping tower, and the vectors of a trained one.

Shapes: R requests, L history positions, B positives, N hard negatives, K pins of a batch, P pins, V vector width.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from modeling.advertiser_loss import advertiser_softmax
from modeling.arrays import Floats, Ints
from modeling.joint_rows import Gather, alone
from modeling.sampled_softmax import ExtraNegatives, false_negatives, negative_share, sampled_softmax
from modeling.streaming_frequency import StreamingFrequency
from services.cg.domain.shopping_features import ShoppingFeatures
from services.cg.domain.two_tower_shopping import ShoppingTwoTower, shopping_tensors
from services.cg.offline.contextual_training import FREQUENCY_SLOTS, NegativeShares
from services.cg.offline.shopping_batch import ShoppingBatch

ENCODE_ROWS = 1_024


@dataclass(frozen=True)
class LossWeights:
    """Of the tasks and the advertisers. Without hard negatives only the batch's own ads are told apart."""

    conversion: float = 1.0
    engagement: float = 0.3
    advertiser: float = 0.2
    has_hard_negatives: bool = True


DEFAULT_WEIGHTS = LossWeights()


@dataclass(frozen=True)
class _Vectors:
    """What the loss is made of, of all workers' rows."""

    user_BV: Tensor
    item_BV: Tensor
    negative_NV: Tensor
    user_id_B: Tensor
    target_B: Tensor
    conversion_B: Tensor
    engagement_B: Tensor
    negative_N: Tensor
    negative_user_N: Tensor


class ShoppingTrainer:
    """Computes where the model is; `gather` brings the rows of other workers."""

    def __init__(
        self,
        model: ShoppingTwoTower,
        features: ShoppingFeatures,
        weights: LossWeights = DEFAULT_WEIGHTS,
        gather: Gather = alone,
    ) -> None:
        self.model = model
        self.frequency = StreamingFrequency(FREQUENCY_SLOTS)
        self.shares = NegativeShares()
        self._weights, self._gather = weights, gather
        self._device = next(model.parameters()).device
        self._pins = shopping_tensors(features, model.settings.advertiser_buckets).to(self._device)
        # equal ids for equal advertisers; a bucket may be shared by two
        self._advertiser_P = torch.from_numpy(features.advertiser_P).to(self._device)

    def loss(self, batch: ShoppingBatch) -> Tensor:
        """Conversions, engagement and advertisers, each a sampled softmax, added up by weight."""
        found = self._vectors(batch.to(self._device))
        if not len(found.target_B):
            return found.user_BV.sum()  # 0, with gradients of 0
        if self.model.training:
            columns = (
                torch.cat([found.target_B, found.negative_N]) if self._weights.has_hard_negatives else found.target_B
            )
            self.frequency.update(columns.cpu())
            self.shares.add(negative_share(found.user_id_B, false_negatives(found.user_id_B, found.target_B)))
        loss = self._weights.conversion * self._softmax(found, found.conversion_B)
        if self._weights.engagement:
            loss = loss + self._weights.engagement * self._softmax(found, found.engagement_B)
        if self._weights.advertiser:
            of_advertisers = advertiser_softmax(found.user_BV, found.item_BV, self._advertiser_P[found.target_B])
            loss = loss + self._weights.advertiser * of_advertisers
        return loss

    def _vectors(self, batch: ShoppingBatch) -> _Vectors:
        """Users once per request, each pin of the batch once."""
        asked = torch.cat([batch.pin_RL.clamp(min=0).flatten(), batch.target_B, batch.negative_N])
        pins_K, place = torch.unique(asked, return_inverse=True)
        raw_KF = self.model.describe(self._pins.take(pins_K))
        num_events, num_positives = batch.pin_RL.numel(), len(batch.target_B)
        raw_RLF = raw_KF[place[:num_events]].reshape(*batch.pin_RL.shape, raw_KF.shape[1])
        user_RV = self._users(raw_RLF, batch.pin_RL, batch.type_RL)
        items, at = torch.unique(place[num_events:], return_inverse=True)
        item_V = self.model.item_vectors(raw_KF[items])[at]
        gather = self._gather
        return _Vectors(
            gather(user_RV[batch.row_to_request_B]),
            gather(item_V[:num_positives]),
            gather(item_V[num_positives:]),
            gather(batch.user_id_B),
            gather(batch.target_B),
            gather(batch.conversion_B),
            gather(batch.engagement_B),
            gather(batch.negative_N),
            gather(batch.negative_user_N),
        )

    def _users(self, raw_RLF: Tensor, pin_RL: Tensor, type_RL: Tensor) -> Tensor:
        is_ad_RL = self._advertiser_P[pin_RL.clamp(min=0)] >= 0
        return self.model.user_vectors(raw_RLF, type_RL, is_ad_RL, pin_RL >= 0)

    def _softmax(self, found: _Vectors, weight_B: Tensor) -> Tensor:
        """Of the rows that weigh anything; all rows are columns."""
        dtype = found.user_BV.dtype
        log_q_B = self.frequency.log_q(found.target_B.cpu()).to(self._device, dtype)
        extra = None
        if self._weights.has_hard_negatives:
            log_q_N = self.frequency.log_q(found.negative_N.cpu()).to(self._device, dtype)
            extra = ExtraNegatives(found.negative_NV, log_q_N, found.negative_user_N, found.negative_N)
        return sampled_softmax(
            found.user_BV, found.item_BV, log_q_B, found.user_id_B, found.target_B, weight_B=weight_B, extra=extra
        )

    @torch.no_grad()
    def item_vectors(self, pin_A: Ints) -> Floats:
        """Of these pins [A, V]."""
        self.model.eval()
        blocks = torch.split(torch.from_numpy(pin_A).to(self._device), ENCODE_ROWS)
        vectors = [self.model.item_vectors(self.model.describe(self._pins.take(rows))) for rows in blocks]
        return np.asarray(torch.cat(vectors).cpu().numpy())

    @torch.no_grad()
    def user_vectors(self, pin_RL: Ints, type_RL: Ints) -> Floats:
        """After each of these histories [R, V]."""
        self.model.eval()
        raw_PF = self.model.describe(self._pins)
        vectors = []
        for start in range(0, len(pin_RL), ENCODE_ROWS):
            pins = torch.from_numpy(pin_RL[start : start + ENCODE_ROWS]).to(self._device)
            types = torch.from_numpy(type_RL[start : start + ENCODE_ROWS]).to(self._device)
            vectors.append(self._users(raw_PF[pins.clamp(min=0)], pins, types))
        return np.asarray(torch.cat(vectors).cpu().numpy())
