"""One Transformer block in the three pieces that the context pass and the crossing pass put together differently.

Pre-norm (Xiong et al. 2020), an inner layer of four times the width. Shapes: D width, H heads, E = D / H.
"""

import torch
from torch import Tensor, nn


class Block(nn.Module):
    """The attention between `queries`, `keys_values` and `finish` is the caller's."""

    def __init__(self, width: int, num_heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        if width % num_heads:
            raise ValueError(f"width {width} cannot be shared by {num_heads} heads")
        self.num_heads, self.head_width = num_heads, width // num_heads
        self.attention_norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)
        self.inner_norm = nn.LayerNorm(width)
        self.inner = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.dropout = nn.Dropout(dropout)

    def queries(self, normed: Tensor) -> Tensor:
        """Normed rows [..., D] -> [..., H, E]."""
        return torch.as_tensor(self.query(normed)).view(*normed.shape[:-1], self.num_heads, self.head_width)

    def keys_values(self, normed: Tensor) -> tuple[Tensor, Tensor]:
        """Normed rows [..., D] -> keys and values, each [..., H, E]."""
        both = torch.as_tensor(self.key_value(normed))
        keys, values = both.view(*normed.shape[:-1], 2, self.num_heads, self.head_width).unbind(-3)
        return keys, values

    def finish(self, rows: Tensor, heads: Tensor) -> Tensor:
        """Add what was attended to [..., H, E] and the inner layers to the rows [..., D]."""
        rows = rows + self.dropout(self.out(heads.flatten(-2)))
        return torch.as_tensor(rows + self.dropout(self.inner(self.inner_norm(rows))))
