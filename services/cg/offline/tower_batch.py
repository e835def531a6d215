"""A batch of the contextual tower: histories once per request, positives that say whose they are.

Shapes: R requests, L history positions, B positives.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class TowerBatch:
    """`row_to_request` and `position` say after which event of which history a positive was chosen.

    Pins are numbers of the catalogue, -1 where a history has no event; `position` -1 means that nothing came before.
    """

    pin_RL: Tensor
    type_RL: Tensor
    user_id_R: Tensor
    row_to_request_B: Tensor
    position_B: Tensor
    target_B: Tensor

    @property
    def user_id_B(self) -> Tensor:
        """The user of each positive."""
        return self.user_id_R[self.row_to_request_B]

    def to(self, device: torch.device) -> "TowerBatch":
        """The same on a device."""
        return TowerBatch(*(getattr(self, name).to(device) for name in self.__dataclass_fields__))

    def expanded(self) -> "TowerBatch":
        """The same positives, each with a copy of its history: what training costs without the deduplication."""
        rows = self.row_to_request_B
        return replace(
            self,
            pin_RL=self.pin_RL[rows],
            type_RL=self.type_RL[rows],
            user_id_R=self.user_id_R[rows],
            row_to_request_B=torch.arange(len(rows)),
        )
