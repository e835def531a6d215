"""Ψ and Ψ⁻¹ of PinFM: which rows of a batch share a sequence, so that it is embedded and read once per step.

Shapes: B rows, U unique sequences.
"""

import torch
from torch import Tensor


def unique_sequences(key_B: Tensor) -> tuple[Tensor, Tensor]:
    """Ψ: the first row of each distinct key [U], and Ψ⁻¹: the unique sequence of each row [B].

    `key_B` is whatever tells sequences apart, such as a request's number; rows of one key must hold the same sequence.
    """
    unique_U, inverse_B = torch.unique(key_B, return_inverse=True)
    rows_B = torch.arange(len(key_B), device=key_B.device)
    first_U = torch.full_like(unique_U, len(key_B), dtype=torch.int64)
    return first_U.scatter_reduce(0, inverse_B, rows_B, "amin"), inverse_B
