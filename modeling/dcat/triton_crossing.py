"""The crossing attention as one Triton kernel for CUDA: scores against the history never leave the chip.

An online softmax (FlashAttention, Dao et al. 2022) that starts from the candidate's own key and value, so nothing is
left to merge. Forward only; training on CUDA takes plain operations. Its arithmetic is tested in Triton's interpreter
everywhere; on a device it is verified only where one is there (`tests/test_triton_crossing.py` says so when it skips).
Shapes: U users, H heads, C candidates, L history positions, E width of a head.
"""

import math

import torch
import triton  # type: ignore[import-untyped]
import triton.language as tl  # type: ignore[import-untyped]
from torch import Tensor

BLOCK_C, BLOCK_L = 16, 64
WIDTHS = (16, 32, 64, 128)  # what a matrix product on the chip takes


def crossing(
    query_UHCE: Tensor, own: tuple[Tensor, Tensor], history: tuple[Tensor, Tensor], bias_U11L: Tensor | None
) -> Tensor:
    """`attend_history_and_self` in one launch; E must be one of `WIDTHS`. K and V are read where they lie."""
    num_users, num_heads, num_candidates, width = query_UHCE.shape
    key, value = history
    out_UHCE = torch.empty_like(query_UHCE, memory_format=torch.contiguous_format)
    grid = (triton.cdiv(num_candidates, BLOCK_C), num_users * num_heads)
    _kernel[grid](
        query_UHCE.contiguous(),
        own[0].contiguous(),
        own[1].contiguous(),
        key,
        value,
        out_UHCE if bias_U11L is None else bias_U11L.contiguous(),
        out_UHCE,
        num_heads,
        num_candidates,
        key.shape[2],
        *key.stride()[:3],
        *value.stride()[:3],
        1.0 / math.sqrt(width),
        HAS_BIAS=bias_U11L is not None,
        ROWS=BLOCK_C,
        EVENTS=BLOCK_L,
        WIDTH=width,
    )
    return out_UHCE


@triton.jit  # type: ignore[untyped-decorator, unused-ignore]
def _kernel(  # type: ignore[no-untyped-def]
    query,
    own_key,
    own_value,
    key,
    value,
    bias,
    out,
    num_heads,
    num_candidates,
    num_events,
    key_u,
    key_h,
    key_l,
    value_u,
    value_h,
    value_l,
    scale,
    HAS_BIAS: tl.constexpr,
    ROWS: tl.constexpr,
    EVENTS: tl.constexpr,
    WIDTH: tl.constexpr,
):
    pair = tl.program_id(1)
    user, head = pair // num_heads, pair % num_heads
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    lane = tl.arange(0, WIDTH)
    is_row = (row < num_candidates)[:, None]
    place = (pair * num_candidates + row)[:, None] * WIDTH + lane[None, :]
    q = tl.load(query + place, mask=is_row, other=0.0).to(tl.float32) * scale
    # The candidate itself is the first key: its score is the greatest so far, its weight 1.
    greatest = tl.sum(q * tl.load(own_key + place, mask=is_row, other=0.0).to(tl.float32), axis=1)
    total = tl.full([ROWS], 1.0, tl.float32)
    seen = tl.load(own_value + place, mask=is_row, other=0.0).to(tl.float32)
    for start in range(0, num_events, EVENTS):
        event = start + tl.arange(0, EVENTS)
        is_event = event < num_events
        k_place = user * key_u + head * key_h + event[:, None] * key_l + lane[None, :]
        v_place = user * value_u + head * value_h + event[:, None] * value_l + lane[None, :]
        k = tl.load(key + k_place, mask=is_event[:, None], other=0.0).to(tl.float32)
        v = tl.load(value + v_place, mask=is_event[:, None], other=0.0).to(tl.float32)
        score = tl.dot(q, tl.trans(k), input_precision="ieee")
        score = tl.where(is_event[None, :], score, float("-inf"))
        if HAS_BIAS:
            score += tl.load(bias + user * num_events + event, mask=is_event, other=0.0).to(tl.float32)[None, :]
        now_greatest = tl.maximum(greatest, tl.max(score, axis=1))
        weight = tl.exp(score - now_greatest[:, None])
        shrink = tl.exp(greatest - now_greatest)
        total = total * shrink + tl.sum(weight, axis=1)
        seen = seen * shrink[:, None] + tl.dot(weight, v, input_precision="ieee")
        greatest = now_greatest
    tl.store(out + place, (seen / total[:, None]).to(out.dtype.element_ty), mask=is_row)
