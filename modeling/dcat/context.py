"""What the context pass leaves behind: keys and values of each layer, once per user, for any number of candidates.

Shapes: U users, H heads, L history positions, E width of a head.
"""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True)
class Context:
    """Keys and values of U users. Events lie at the start of each row, padding after `length_U`."""

    keys: tuple[Tensor, ...]  # one [U, H, L, E] for each layer
    values: tuple[Tensor, ...]
    length_U: Tensor  # int64
    bias_U11L: Tensor | None = field(init=False)  # 0 at events, -inf at padding; None = no padding

    def __post_init__(self) -> None:
        object.__setattr__(self, "bias_U11L", _bias(self.length_U, self.keys[0]))

    @property
    def num_users(self) -> int:
        return len(self.length_U)

    @property
    def num_bytes(self) -> int:
        """2 · U · L · D · layers · size of a number."""
        return sum(part.numel() * part.element_size() for part in (*self.keys, *self.values))

    def of_user(self, row: int) -> "Context":
        """A view of one user without its padding."""
        length = int(self.length_U[row])
        keys, values = (tuple(p[row : row + 1, :, :length] for p in parts) for parts in (self.keys, self.values))
        return Context(keys, values, self.length_U[row : row + 1])

    def owned(self) -> "Context":
        """A dense copy that keeps nothing else alive: what may lie in a cache."""
        keys, values = (tuple(p.detach().clone(memory_format=_DENSE) for p in ps) for ps in (self.keys, self.values))
        return Context(keys, values, self.length_U.clone())


_DENSE = torch.contiguous_format


def _bias(length_U: Tensor, like_UHLE: Tensor) -> Tensor | None:
    size = like_UHLE.shape[2]
    if bool((length_U == size).all()):
        return None
    is_padding_UL = torch.arange(size, device=length_U.device) >= length_U[:, None]
    bias_UL = like_UHLE.new_zeros(is_padding_UL.shape).masked_fill(is_padding_UL.to(like_UHLE.device), -math.inf)
    return bias_UL[:, None, None]
