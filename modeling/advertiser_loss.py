"""A second sampled softmax: the user against whole advertisers, each the normalised mean of its items in the batch.

Pinterest 2026-04-27, shopping conversions; the weight that adds it to the main loss is 0.1 to 0.5.
Shapes: B rows, A advertisers in the batch, D width.
"""

import torch
from torch import Tensor
from torch.nn import functional

from modeling.sampled_softmax import DEFAULT_TEMPERATURE, masked_cross_entropy


def advertiser_softmax(
    users_BD: Tensor, items_BD: Tensor, advertiser_id_B: Tensor, temperature: float = DEFAULT_TEMPERATURE
) -> Tensor:
    """Mean loss over rows; columns of the row's own advertiser are masked. An id below 0 is no advertiser: no row."""
    has_advertiser_B = advertiser_id_B >= 0
    means_BD = advertiser_means(items_BD, advertiser_id_B)
    is_same_BB = advertiser_id_B[:, None] == advertiser_id_B[None, :]
    is_other_BB = ~torch.eye(len(users_BD), dtype=torch.bool, device=users_BD.device)
    is_dropped_BB = (is_same_BB | ~has_advertiser_B[None, :]) & is_other_BB
    return masked_cross_entropy(users_BD @ means_BD.T / temperature, is_dropped_BB, has_advertiser_B)


def advertiser_means(items_BD: Tensor, advertiser_id_B: Tensor) -> Tensor:
    """For each row the unit mean of all items of its advertiser in the batch [B, D]."""
    _, place_B, count_A = torch.unique(advertiser_id_B, return_inverse=True, return_counts=True)
    sums_AD = torch.zeros(len(count_A), items_BD.shape[1], dtype=items_BD.dtype, device=items_BD.device)
    sums_AD = sums_AD.index_add(0, place_B, items_BD)
    return functional.normalize(sums_AD, dim=-1)[place_B]
