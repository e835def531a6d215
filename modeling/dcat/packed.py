"""The other way to the same scores: history and candidates as one masked sequence, in one pass.

It does more arithmetic than two passes (a mask saves none) with half of the calls, so it wins on small requests.
Shapes: U users, L history positions, C candidates, T = L + C, N candidates of all users, D width.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from modeling.dcat.block import Block
from modeling.dcat.pieces import rectangle


def score_packed(
    blocks: Sequence[Block],
    history_ULD: Tensor,
    length_U: Tensor,
    candidates_ND: Tensor,
    counts: Sequence[int],
    *,
    slopes: tuple[float, ...] = (),
) -> Tensor:
    """[N, D] before the last norm; candidates are sorted by user, `counts[u]` of them for user u."""
    place = rectangle(counts, candidates_ND.device)
    num_events = history_ULD.shape[1]
    rows_UTD = torch.cat([history_ULD, place.fold(candidates_ND)], dim=1)
    bias = _bias(length_U, num_events, place.size, rows_UTD.dtype) + _recency(length_U, num_events, place.size, slopes)
    for number, block in enumerate(blocks, start=1):
        normed = block.attention_norm(rows_UTD)
        key, value = (part.transpose(1, 2) for part in block.keys_values(normed))
        if number == len(blocks):  # nobody reads the history's rows any more
            rows_UTD, normed, bias = rows_UTD[:, num_events:], normed[:, num_events:], bias[:, :, num_events:]
        query = block.queries(normed).transpose(1, 2)
        heads = functional.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        rows_UTD = block.finish(rows_UTD, heads.transpose(1, 2))
    return place.unfold(rows_UTD)


def _bias(length_U: Tensor, num_events: int, num_candidates: int, dtype: torch.dtype) -> Tensor:
    """0 where a row may look, -inf elsewhere [U, 1, T, T]; every row sees itself, so no row sees nothing."""
    total = num_events + num_candidates
    place_T = torch.arange(total, device=length_U.device)
    is_event_UT = place_T < length_U[:, None]
    may_look_UTT = (place_T[:, None] >= place_T) & is_event_UT[:, None, :] | torch.eye(
        total, dtype=torch.bool, device=length_U.device
    )
    bias_UTT = torch.zeros(may_look_UTT.shape, dtype=dtype, device=length_U.device)
    return bias_UTT.masked_fill(~may_look_UTT, -math.inf)[:, None]


def _recency(length_U: Tensor, num_events: int, num_candidates: int, slopes: tuple[float, ...]) -> Tensor:
    """What scores lose by the steps between their rows [U or 1, H or 1, T, T]; candidates come after all events."""
    if not slopes:
        return torch.zeros(1, 1, 1, 1, device=length_U.device)
    event_UL = torch.arange(num_events, device=length_U.device).expand(len(length_U), -1)
    place_UT = torch.cat([event_UL, length_U[:, None].expand(-1, num_candidates)], dim=1)
    steps_back_UTT = (place_UT[:, :, None] - place_UT[:, None, :]).float()
    return -torch.tensor(slopes, device=length_U.device)[:, None, None] * steps_back_UTT[:, None]
