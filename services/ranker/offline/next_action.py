"""The auxiliary loss: the state of each history must tell the pin chosen next from the others of its batch.

It shapes the embeddings; the order of candidates stays what counts. Pancha et al. 2022 and PinFM, arXiv 2507.12704.
Shapes: B requests of a batch, R requests, D width.
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from modeling.arrays import Ints
from modeling.sampled_softmax import sampled_softmax
from services.ranker.domain.features import HEADS
from services.ranker.domain.history_ranker import HistoryRanker
from services.ranker.offline.examples import Requests

WEIGHT = 0.1


class NextAction:
    """What was chosen next in each request, and how often that pin is chosen at all."""

    def __init__(self, requests: Requests) -> None:
        wanted = [row for row, head in enumerate(HEADS) if head != "hide"]
        is_chosen_RC = requests.label_RCH[..., wanted].max(axis=2) > 0
        has_one_R = is_chosen_RC.any(axis=1)
        column_R = np.where(has_one_R, is_chosen_RC.argmax(axis=1), 0)
        pin_R = requests.pin_RC[np.arange(len(requests)), column_R]
        _, kind_R, count_K = np.unique(pin_R, return_inverse=True, return_counts=True)
        self._column_R = torch.from_numpy(column_R)
        self._weight_R = torch.from_numpy(has_one_R.astype(np.float32))
        self._log_q_R = torch.from_numpy(np.log(count_K[kind_R] / len(requests)).astype(np.float32))

    def loss(self, model: HistoryRanker, state_BD: Tensor, inputs: Mapping[str, Tensor], row_B: Ints) -> Tensor:
        """Sampled softmax over the batch; a request in which nothing was chosen does not count."""
        rows, request_B = torch.from_numpy(row_B), torch.arange(len(row_B))
        column_B = self._column_R[rows]
        hash_B = inputs["candidate_pin"][request_B, column_B]
        item_BD = model.sequence.pins(hash_B, inputs["candidate_content"][request_B, column_B])
        return sampled_softmax(
            state_BD,
            item_BD,
            self._log_q_R[rows],
            request_B,
            hash_B,
            temperature=float(item_BD.shape[1]) ** 0.5,
            weight_B=self._weight_R[rows],
        )
