"""Attention of candidates to a history and to themselves, without ever joining the two into one key tensor; and the
history's own.

The fused kernel reads the history once and also returns the log-sum-exp of its scores; the candidate's own key joins by
the sigmoid of its score minus that number, which is exactly the softmax over both (the merge of split keys in
FlashAttention, Dao et al. 2022). Backward uses the same kernel with the merged output and log-sum-exp, as ring
attention does (Liu et al. 2023): PyTorch gives that log-sum-exp no gradient of its own.
Shapes: U users, H heads, C candidates, L history positions, E width of a head.
"""

import math
from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

# No public function of PyTorch returns the log-sum-exp on CPUs; its own attention calls these.
_FLASH = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu  # noqa: SLF001
_FLASH_BACKWARD = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward  # noqa: SLF001
CAUSAL_BLOCK = 128  # queries of one call; shorter blocks spare little more and cost calls
_FLASH_DTYPES = (torch.float32, torch.float64)


def attend_history_and_self(
    query_UHCE: Tensor, own: tuple[Tensor, Tensor], history: tuple[Tensor, Tensor], bias: Tensor | None
) -> Tensor:
    """What each candidate sees of its user's history and of itself [U, H, C, E]; never another candidate.

    `own` and `history` are keys and values, [U, H, C, E] and [U, H, L, E]. `bias` [U, 1 or H, 1, L] is added to the
    scores of the history, -inf at padding; None = nothing. A user without history gives the candidate's own value.
    """
    if history[0].shape[2] == 0:
        return own[1]
    if query_UHCE.device.type == "cpu" and query_UHCE.dtype in _FLASH_DTYPES:
        return torch.as_tensor(_FusedMerge.apply(query_UHCE, *own, *history, bias))
    is_plain = bias is None or bias.shape[1] == 1  # the kernel takes one bias for all heads
    if query_UHCE.is_cuda and is_plain and not torch.is_grad_enabled():
        kernel = _cuda_kernel(query_UHCE.shape[-1])
        if kernel is not None:
            return kernel(query_UHCE, own, history, bias)
    return _explicit(query_UHCE, own, history, bias)


def attend_past(query_UHLE: Tensor, key_UHLE: Tensor, value_UHLE: Tensor, slopes: tuple[float, ...] = ()) -> Tensor:
    """Causal self-attention of histories [U, H, L, E]; a score falls by the head's slope with each step back.

    The CPU kernel does the future half of the work and throws it away; queries in blocks, each with the keys up to its
    own end, spare most of it (1.3 times as fast at L = 512).
    """
    length = query_UHLE.shape[2]
    if not slopes and (query_UHLE.device.type != "cpu" or length <= CAUSAL_BLOCK):
        return functional.scaled_dot_product_attention(query_UHLE, key_UHLE, value_UHLE, is_causal=True)
    # What all keys of a query gain alike changes no softmax, so a key's own place does for its distance.
    slope_1H11 = query_UHLE.new_tensor(slopes or (0.0,))[None, :, None, None]
    gain_1H1L = slope_1H11 * torch.arange(length, device=query_UHLE.device)
    future_BB = query_UHLE.new_full((CAUSAL_BLOCK, CAUSAL_BLOCK), -math.inf).triu(1)
    seen = []
    for start in range(0, length, CAUSAL_BLOCK):
        end = min(start + CAUSAL_BLOCK, length)
        bias = functional.pad(future_BB[: end - start, : end - start], (start, 0)) + gain_1H1L[..., :end]
        keys, values = key_UHLE[:, :, :end], value_UHLE[:, :, :end]
        seen.append(functional.scaled_dot_product_attention(query_UHLE[:, :, start:end], keys, values, attn_mask=bias))
    return torch.cat(seen, dim=2)


def merge(history_UHCE: Tensor, lse_UHC: Tensor, score_UHC: Tensor, own_UHCE: Tensor) -> tuple[Tensor, Tensor]:
    """One more key joins a finished attention: the new output, and the share of the new key [U, H, C]."""
    share_UHC = torch.sigmoid(score_UHC - lse_UHC)
    return torch.lerp(history_UHCE, own_UHCE, share_UHC[..., None]), share_UHC


def own_score(query_UHCE: Tensor, key_UHCE: Tensor) -> Tensor:
    """Scaled score of each candidate with its own key [U, H, C]."""
    return (query_UHCE * key_UHCE).sum(-1) / math.sqrt(query_UHCE.shape[-1])


class _FusedMerge(torch.autograd.Function):
    """The CPU kernel and the merge as one differentiable step."""

    @staticmethod
    def forward(
        ctx: Any, query: Tensor, own_key: Tensor, own_value: Tensor, key: Tensor, value: Tensor, bias: Tensor | None
    ) -> Tensor:
        mask = _mask(query, bias)
        seen, lse = _FLASH(query, key, value, attn_mask=mask)
        if bias is not None:  # the kernel says 0 where every position is masked
            lse = lse.masked_fill(torch.isneginf(bias).all(-1), -math.inf)
        score = own_score(query, own_key)
        out, share = merge(seen, lse, score, own_value)
        ctx.save_for_backward(query, own_key, own_value, key, value, bias, out, torch.logaddexp(lse, score), share)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        query, own_key, own_value, key, value, bias, out, lse, share = ctx.saved_tensors
        mask = _mask(query, bias)
        (grad,) = grads
        d_query, d_key, d_value = _FLASH_BACKWARD(
            grad, query, key, value, out, lse, 0.0, False, attn_mask=mask, scale=None
        )
        d_score = share * (grad * (own_value - out)).sum(-1) / math.sqrt(query.shape[-1])
        d_query = d_query + d_score[..., None] * own_key
        return d_query, d_score[..., None] * query, share[..., None] * grad, d_key, d_value, None


def _mask(query_UHCE: Tensor, bias: Tensor | None) -> Tensor | None:
    return None if bias is None else bias.expand(-1, -1, query_UHCE.shape[2], -1)


@cache
def _cuda_kernel(width: int) -> Callable[..., Tensor] | None:
    """The kernel for this width of a head; None where Triton is not installed or has no form for it."""
    try:
        triton_crossing = import_module("modeling.dcat.triton_crossing")
    except ImportError:
        return None
    kernel: Callable[..., Tensor] = triton_crossing.crossing
    return kernel if width in triton_crossing.WIDTHS else None


def _explicit(
    query_UHCE: Tensor, own: tuple[Tensor, Tensor], history: tuple[Tensor, Tensor], bias: Tensor | None
) -> Tensor:
    """The same with plain operations, for devices and dtypes that the fused CPU kernel does not take."""
    scores_UHCL = query_UHCE @ history[0].transpose(-1, -2) / math.sqrt(query_UHCE.shape[-1])
    if bias is not None:
        scores_UHCL = scores_UHCL + bias
    scores_UHCL = torch.cat([scores_UHCL, own_score(query_UHCE, own[0])[..., None]], dim=-1)
    weights_UHCL = torch.softmax(scores_UHCL, dim=-1)
    return weights_UHCL[..., :-1] @ history[1] + weights_UHCL[..., -1:] * own[1]
