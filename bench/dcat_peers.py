"""The other ways to score candidates that DCAT is timed against: same weights, same scores, PyTorch's own attention.

Shapes: L history positions, N candidates, T rows of a sequence, D width.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

from modeling.dcat.block import Block
from modeling.dcat.engine import Dcat


def appended_one_by_one(model: Dcat, history_1LD: Tensor, candidates_ND: Tensor, num_together: int) -> Tensor:
    """Every candidate at the end of a sequence of its own, `num_together` sequences in a batch."""
    out = []
    for some_bD in torch.split(candidates_ND, num_together):
        rows_bTD = torch.cat([history_1LD.expand(len(some_bD), -1, -1), some_bD[:, None]], dim=1)
        for block in model.stack:
            rows_bTD = _attended(block, rows_bTD, None)
        out.append(model.norm(rows_bTD[:, -1]))
    return torch.cat(out)


def masked_sequence(model: Dcat, history_1LD: Tensor, candidates_ND: Tensor) -> Tensor:
    """History and candidates as one sequence under a mask, every block over every row."""
    length, total = history_1LD.shape[1], history_1LD.shape[1] + len(candidates_ND)
    may_look_TT = torch.ones(total, total, dtype=torch.bool).tril()
    may_look_TT[length:, length:] = torch.eye(len(candidates_ND), dtype=torch.bool)
    bias_TT = torch.zeros(total, total).masked_fill(~may_look_TT, -math.inf)
    rows_1TD = torch.cat([history_1LD, candidates_ND[None]], dim=1)
    for block in model.stack:
        rows_1TD = _attended(block, rows_1TD, bias_TT)
    return torch.as_tensor(model.norm(rows_1TD[0, length:]))


def _attended(block: Block, rows_bTD: Tensor, bias_TT: Tensor | None) -> Tensor:
    """One block; causal without a bias."""
    normed = block.attention_norm(rows_bTD)
    query = block.queries(normed).transpose(1, 2)
    key, value = (part.transpose(1, 2) for part in block.keys_values(normed))
    heads = functional.scaled_dot_product_attention(query, key, value, attn_mask=bias_TT, is_causal=bias_TT is None)
    return block.finish(rows_bTD, heads.transpose(1, 2))
