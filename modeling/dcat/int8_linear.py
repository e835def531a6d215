"""Linear layers in 8-bit integers for CPUs: weights per output channel, activations per row, both symmetric.

An option, chosen after training: scores differ from fp32 (the README says by how much). PyTorch marks its own eager
quantisation for removal and points to a second package; the integer product itself stays in PyTorch.
Shapes: M rows, K inputs, N outputs.
"""

import copy

import torch
from torch import Tensor, nn

TOP = 127.0  # symmetric: -128 is never used


class Int8Linear(nn.Module):
    """Stands in for a trained `nn.Linear`; cannot be trained."""

    weight_NK: Tensor  # int8
    scale_N: Tensor
    bias_N: Tensor | None

    def __init__(self, trained: nn.Linear) -> None:
        super().__init__()
        weight_NK = trained.weight.detach().float()
        scale_N = _scale(weight_NK)
        self.register_buffer("scale_N", scale_N[:, 0])
        self.register_buffer("weight_NK", (weight_NK / scale_N).round().to(torch.int8))
        self.register_buffer("bias_N", None if trained.bias is None else trained.bias.detach().float())

    def forward(self, rows: Tensor) -> Tensor:
        """float32 [..., K] -> [..., N]."""
        rows_MK = rows.reshape(-1, rows.shape[-1])
        if not len(rows_MK):
            return rows.new_zeros(*rows.shape[:-1], len(self.scale_N))
        scale_M1 = _scale(rows_MK)
        codes_MK = (rows_MK / scale_M1).round_().to(torch.int8)
        # No public name gives int8 [M, K] x [K, N] -> int32.
        sums_MN = torch._int_mm(codes_MK, self.weight_NK.t())  # noqa: SLF001
        out_MN = sums_MN.to(rows.dtype).mul_(scale_M1).mul_(self.scale_N)
        if self.bias_N is not None:
            out_MN += self.bias_N
        return out_MN.view(*rows.shape[:-1], -1)


def in_int8(model: nn.Module) -> nn.Module:
    """A copy of the model, in evaluation mode, whose linear layers are all `Int8Linear`."""
    made = copy.deepcopy(model).eval()
    for parent in list(made.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.Linear):
                setattr(parent, name, Int8Linear(child))
    return made


def _scale(rows: Tensor) -> Tensor:
    """Largest absolute value of each row over 127; tiny where the row is all zeros."""
    return rows.abs().amax(dim=-1, keepdim=True).clamp(min=1e-12) / TOP
