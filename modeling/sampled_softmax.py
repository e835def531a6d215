"""The loss of two-tower retrieval: every other row of the batch is a negative, corrected and masked.

Yi et al. 2019, "Sampling-bias-corrected neural modeling for large corpus item recommendations", for the correction;
the mask of the same user is what request-sorted batches need.
Shapes: B rows, D width.
"""

import torch
from torch import Tensor
from torch.nn import functional

DEFAULT_TEMPERATURE = 0.07


def sampled_softmax(
    users_BD: Tensor,
    items_BD: Tensor,
    log_q_B: Tensor,
    user_id_B: Tensor,
    item_id_B: Tensor,
    temperature: float = DEFAULT_TEMPERATURE,
) -> Tensor:
    """Mean loss over rows that have a negative left; 0 when none has.

    `log_q_B` is the log of each item's chance to be in a batch. A column of the same user or the same item is dropped.
    """
    logits_BB = users_BD @ items_BD.T / temperature - log_q_B[None, :]
    is_dropped_BB = false_negatives(user_id_B, item_id_B)
    logits_BB = logits_BB.masked_fill(is_dropped_BB, torch.finfo(logits_BB.dtype).min)
    target_B = torch.arange(len(users_BD), device=users_BD.device)
    loss_B = functional.cross_entropy(logits_BB, target_B, reduction="none")
    has_negative_B = is_dropped_BB.sum(dim=1) < len(users_BD) - 1
    return (loss_B * has_negative_B).sum() / has_negative_B.sum().clamp(min=1)


def false_negatives(user_id_B: Tensor, item_id_B: Tensor) -> Tensor:
    """True off the diagonal where a column shares the row's user or item [B, B]."""
    same_BB = (user_id_B[:, None] == user_id_B[None, :]) | (item_id_B[:, None] == item_id_B[None, :])
    return same_BB & ~torch.eye(len(user_id_B), dtype=torch.bool, device=user_id_B.device)


def same_user_share(user_id_B: Tensor) -> float:
    """Share of off-diagonal columns that are the row's own user: what the mask keeps out."""
    count = len(user_id_B)
    same = (user_id_B[:, None] == user_id_B[None, :]).sum().item() - count
    return float(same / max(1, count * (count - 1)))
