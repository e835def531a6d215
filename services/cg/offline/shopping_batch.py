"""A batch of the shopping tower: histories once per request, what was bought or looked at, what was shown in vain.

Shapes: R requests, L history positions, B positives, N hard negatives.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class ShoppingBatch:
    """Pins are numbers of the catalogue, -1 where a history has no event.

    `conversion_B` is 1 for a purchase; `engagement_B` is what a click or save weighs by the click's duration, 0 without
    either. Negatives are served ads that their own user left alone.
    """

    pin_RL: Tensor
    type_RL: Tensor
    user_id_R: Tensor
    row_to_request_B: Tensor
    target_B: Tensor
    conversion_B: Tensor
    engagement_B: Tensor
    negative_N: Tensor
    negative_user_N: Tensor

    @property
    def user_id_B(self) -> Tensor:
        """The user of each positive."""
        return self.user_id_R[self.row_to_request_B]

    def to(self, device: torch.device) -> "ShoppingBatch":
        """The same on a device."""
        return ShoppingBatch(*(getattr(self, name).to(device) for name in self.__dataclass_fields__))
