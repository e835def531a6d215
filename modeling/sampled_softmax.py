"""The loss of two-tower retrieval: every other row of the batch is a negative, corrected and masked.

Yi et al. 2019, "Sampling-bias-corrected neural modeling for large corpus item recommendations", for the correction;
the mask of the same user is what request-sorted batches need: user ids, as two requests of one user are the same user.
Shapes: B rows, N extra negatives, D width.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

DEFAULT_TEMPERATURE = 0.07


@dataclass(frozen=True)
class ExtraNegatives:
    """Items that were shown and left alone: columns behind the batch's own."""

    items_ND: Tensor
    log_q_N: Tensor
    user_id_N: Tensor
    item_id_N: Tensor


@dataclass(frozen=True)
class NegativeShare:
    """Share of the negatives' columns that belong to the row's own user, before and after the mask."""

    before: float
    after: float


def sampled_softmax(
    users_BD: Tensor,
    items_BD: Tensor,
    log_q_B: Tensor,
    user_id_B: Tensor,
    item_id_B: Tensor,
    temperature: float = DEFAULT_TEMPERATURE,
    *,
    weight_B: Tensor | None = None,
    extra: ExtraNegatives | None = None,
) -> Tensor:
    """Mean loss over rows that have a negative left, by weight if given; 0 when none has.

    `log_q_B` is the log of each item's chance to be in a batch. A column of the same user or the same item is dropped.
    A served item that its own user left alone is an honest negative for that user: of extra columns only the same item
    is dropped, and columns of other users stay as well.
    """
    logits_BC = users_BD @ items_BD.T / temperature - log_q_B[None, :]
    is_dropped_BC = false_negatives(user_id_B, item_id_B)
    if extra is not None:
        extra_logits_BN = users_BD @ extra.items_ND.T / temperature - extra.log_q_N[None, :]
        logits_BC = torch.cat([logits_BC, extra_logits_BN], dim=1)
        is_dropped_BC = torch.cat([is_dropped_BC, item_id_B[:, None] == extra.item_id_N[None, :]], dim=1)
    return masked_cross_entropy(logits_BC, is_dropped_BC, weight_B)


def masked_cross_entropy(logits_BC: Tensor, is_dropped_BC: Tensor, weight_B: Tensor | None = None) -> Tensor:
    """Cross entropy of the kept columns with the diagonal as target; a row without any negative contributes 0."""
    logits_BC = logits_BC.masked_fill(is_dropped_BC, torch.finfo(logits_BC.dtype).min)
    target_B = torch.arange(len(logits_BC), device=logits_BC.device)
    loss_B = functional.cross_entropy(logits_BC, target_B, reduction="none")
    weight_B = torch.ones_like(loss_B) if weight_B is None else weight_B.to(loss_B.dtype)
    counted_B = weight_B * (is_dropped_BC.sum(dim=1) < logits_BC.shape[1] - 1)
    return (loss_B * counted_B).sum() / counted_B.sum().clamp(min=torch.finfo(loss_B.dtype).tiny)


def false_negatives(user_id_B: Tensor, item_id_B: Tensor) -> Tensor:
    """True off the diagonal where a column shares the row's user or item [B, B]."""
    same_BB = (user_id_B[:, None] == user_id_B[None, :]) | (item_id_B[:, None] == item_id_B[None, :])
    return same_BB & ~torch.eye(len(user_id_B), dtype=torch.bool, device=user_id_B.device)


def negative_share(user_id_B: Tensor, is_dropped_BB: Tensor) -> NegativeShare:
    """What the mask found and what it left, over all rows of the batch."""
    is_other_BB = ~torch.eye(len(user_id_B), dtype=torch.bool, device=user_id_B.device)
    is_own_BB = (user_id_B[:, None] == user_id_B[None, :]) & is_other_BB
    is_kept_BB = is_other_BB & ~is_dropped_BB
    return NegativeShare(_ratio(is_own_BB, is_other_BB), _ratio(is_own_BB & is_kept_BB, is_kept_BB))


def same_user_share(user_id_B: Tensor) -> float:
    """Share of off-diagonal columns that are the row's own user: what the mask keeps out."""
    return negative_share(user_id_B, torch.zeros(len(user_id_B), len(user_id_B), dtype=torch.bool)).before


def _ratio(part: Tensor, whole: Tensor) -> float:
    return float(part.sum() / whole.sum().clamp(min=1))
