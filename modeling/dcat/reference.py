"""What DCAT must equal: every candidate appended to its user's whole history, one at a time, nothing shared.

Slow and obvious on purpose; tests and the bench hold the real passes against it. Shapes: as in `engine.py`; T = L + 1.
"""

import math

import torch
from torch import Tensor

from modeling.dcat.block import Block
from modeling.dcat.engine import Dcat


def candidate_by_candidate(
    model: Dcat, history_ULD: Tensor, length_U: Tensor, candidates_ND: Tensor, user_index_N: Tensor
) -> Tensor:
    """[N, D]: the last state of each history with its candidate at the end."""
    out = []
    for candidate_D, user in zip(candidates_ND, user_index_N.tolist(), strict=True):
        events_LD = history_ULD[user, : int(length_U[user])]
        rows_TD = torch.cat([events_LD, candidate_D[None]])
        for block in model.stack:
            rows_TD = _block(block, rows_TD, model.settings.slopes)
        out.append(model.norm(rows_TD[-1]))
    return torch.stack(out) if out else candidates_ND


def _block(block: Block, rows_TD: Tensor, slopes: tuple[float, ...]) -> Tensor:
    """Every row attends to itself and all before it."""
    normed_TD = block.attention_norm(rows_TD)
    query_THE = block.queries(normed_TD)
    key_THE, value_THE = block.keys_values(normed_TD)
    scores_HTT = torch.einsum("qhe,khe->hqk", query_THE, key_THE) / math.sqrt(query_THE.shape[-1])
    place_T = torch.arange(len(rows_TD))
    for head, slope in enumerate(slopes):
        scores_HTT[head] -= slope * (place_T[:, None] - place_T)
    is_future_TT = torch.ones(scores_HTT.shape[1:], dtype=torch.bool).triu(diagonal=1)
    weights_HTT = scores_HTT.masked_fill(is_future_TT, -math.inf).softmax(-1)
    return block.finish(rows_TD, torch.einsum("hqk,khe->qhe", weights_HTT, value_THE))
