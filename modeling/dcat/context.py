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
    slopes: tuple[float, ...] = ()  # per head, how much a key loses with each step back; none = nothing
    # [U, 1 or H, 1, L]: what is added to a score, -inf at padding; None = nothing
    bias: Tensor | None = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "bias", _bias(self.length_U, self.keys[0], self.slopes))

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
        return Context(keys, values, self.length_U[row : row + 1], self.slopes)

    def before_newest(self) -> "Context":
        """Without each user's newest event, which then can cross the rest: that gives its causal state, exactly.

        A user without events stays as is.
        """
        return Context(self.keys, self.values, (self.length_U - 1).clamp(min=0), self.slopes)

    def owned(self) -> "Context":
        """A dense copy that keeps nothing else alive: what may lie in a cache."""
        keys, values = (tuple(p.detach().clone(memory_format=_DENSE) for p in ps) for ps in (self.keys, self.values))
        return Context(keys, values, self.length_U.clone(), self.slopes)


_DENSE = torch.contiguous_format


def _bias(length_U: Tensor, like_UHLE: Tensor, slopes: tuple[float, ...]) -> Tensor | None:
    size = like_UHLE.shape[2]
    if not slopes and bool((length_U == size).all()):
        return None
    steps_back_UL = (length_U[:, None] - torch.arange(size, device=length_U.device)).to(like_UHLE.device)
    slope_H = like_UHLE.new_tensor(slopes or (0.0,))
    bias_UHL = -slope_H[:, None] * steps_back_UL[:, None].to(like_UHLE.dtype)
    return bias_UHL.masked_fill(steps_back_UL[:, None] <= 0, -math.inf)[:, :, None]
