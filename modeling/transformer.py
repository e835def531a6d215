"""A causal Transformer over histories that counts positions from each event back, never from the edge of the window.

So a history's last hidden state does not depend on padding, and the states of all its prefixes come out of one pass:
position t holds what the prefix ending at t would give alone, as long as both fit the window.
Pre-norm blocks (Xiong et al. 2020); a learned bias per head and distance as in T5 (Raffel et al. 2020), no buckets.
Shapes: B rows, L history positions, D width, H heads.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional


class CausalBlock(nn.Module):
    """Self-attention to the event itself and those before it, then two linear layers; both are added to the input."""

    def __init__(self, width: int, num_heads: int, max_length: int, dropout: float) -> None:
        super().__init__()
        if width % num_heads:
            raise ValueError(f"width {width} cannot be shared by {num_heads} heads")
        self.num_heads = num_heads
        self.attention_norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.distance_bias = nn.Parameter(torch.zeros(num_heads, max_length))
        self.inner_norm = nn.LayerNorm(width)
        self.inner = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.dropout = nn.Dropout(dropout)

    def forward(self, rows_BLD: Tensor, mask_B1LL: Tensor, distance_LL: Tensor) -> Tensor:
        """[B, L, D]; `mask_B1LL` is added to every score."""
        shape_BLD = rows_BLD.shape
        qkv = self.qkv(self.attention_norm(rows_BLD)).reshape(*shape_BLD[:2], 3, self.num_heads, -1)
        queries, keys, values = qkv.permute(2, 0, 3, 1, 4)
        bias = mask_B1LL + self.distance_bias[:, distance_LL]
        heads = functional.scaled_dot_product_attention(queries, keys, values, attn_mask=bias)
        rows_BLD = rows_BLD + self.dropout(self.out(heads.transpose(1, 2).reshape(shape_BLD)))
        return torch.as_tensor(rows_BLD + self.dropout(self.inner(self.inner_norm(rows_BLD))))


class HistoryTransformer(nn.Module):
    """A stack of blocks. Padding may lie anywhere; padded positions come out as zeros."""

    def __init__(self, width: int, *, num_layers: int, num_heads: int, max_length: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.max_length = max_length
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(CausalBlock(width, num_heads, max_length, dropout) for _ in range(num_layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, rows_BLD: Tensor, is_real_BL: Tensor) -> Tensor:
        """Hidden state at each position [B, L, D]. Raises: ValueError when L is above `max_length`."""
        length = rows_BLD.shape[1]
        if length > self.max_length:
            raise ValueError(f"history has {length} positions, the model was made for {self.max_length}")
        # A padded position must see something, or its softmax is 0 / 0; nobody reads what comes of it.
        rows_BLD = self.dropout(rows_BLD) * is_real_BL[:, :, None]
        mask_B1LL = _mask(is_real_BL, rows_BLD.dtype)
        distance_LL = _steps_back(is_real_BL)
        for block in self.blocks:
            rows_BLD = block(rows_BLD, mask_B1LL, distance_LL)
        return torch.as_tensor(self.norm(rows_BLD) * is_real_BL[:, :, None])


def _steps_back(is_real_BL: Tensor) -> Tensor:
    steps_L = torch.arange(is_real_BL.shape[1], device=is_real_BL.device)
    return (steps_L[:, None] - steps_L[None, :]).clamp(min=0)


def _mask(is_real_BL: Tensor, dtype: torch.dtype) -> Tensor:
    """0 where a position may look, the lowest number elsewhere [B, 1, L, L]."""
    length = is_real_BL.shape[1]
    is_past_LL = torch.ones(length, length, dtype=torch.bool, device=is_real_BL.device).tril()
    is_self_LL = torch.eye(length, dtype=torch.bool, device=is_real_BL.device)
    may_look_BLL = (is_past_LL & is_real_BL[:, None, :]) | is_self_LL
    lowest = torch.full((), torch.finfo(dtype).min / 2, dtype=dtype, device=is_real_BL.device)
    return torch.where(may_look_BLL, torch.zeros_like(lowest), lowest)[:, None]
