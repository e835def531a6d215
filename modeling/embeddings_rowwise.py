"""Embedding tables in 8 or 4 bits after training: each 32 numbers of a row keep their own scale and bias.

Min-max per group as in PinFM (arXiv 2507.12704), scale and bias in fp16: 36 or 20 bytes where fp16 takes 64. Codes are
chosen for the rounded scale and bias, so that rounding those costs no accuracy.
Shapes: R rows, D width, G = D / 32 groups.
"""

import copy

import torch
from torch import Tensor, nn

from modeling.layers import HashedEmbedding

GROUP_WIDTH = 32
BITS = (4, 8)


class RowwiseEmbedding(nn.Module):
    """A table that is read as `nn.Embedding` is, but holds codes; only the rows that are asked for become numbers."""

    codes: Tensor  # uint8 [R, D · bits / 8]; with 4 bits the first of a pair is the low half
    scale_RG: Tensor  # float16
    bias_RG: Tensor  # float16

    def __init__(self, weight_RD: Tensor, bits: int) -> None:
        """Quantise a table. Raises: ValueError for other bits, a width not in groups of 32, numbers beyond fp16."""
        super().__init__()
        num_rows, width = weight_RD.shape
        if bits not in BITS or width % GROUP_WIDTH:
            raise ValueError(f"{bits} bits and width {width}: bits must be of {BITS}, the width in groups of 32")
        if not bool((weight_RD.abs() <= torch.finfo(torch.float16).max).all()):
            raise ValueError("the table holds numbers that are not finite or beyond fp16; look at the training first")
        self.bits = bits
        values_RGW = weight_RD.detach().float().view(num_rows, -1, GROUP_WIDTH)
        low_RG, high_RG = values_RGW.amin(-1), values_RGW.amax(-1)
        self.register_buffer("scale_RG", ((high_RG - low_RG) / (2**bits - 1)).half())
        self.register_buffer("bias_RG", low_RG.half())
        # A scale of 0 is a group of equal numbers: every code is 0 and the bias says it all.
        step_RG1 = self.scale_RG.float()[..., None].where(self.scale_RG[..., None] > 0, torch.inf)
        codes_RGW = ((values_RGW - self.bias_RG.float()[..., None]) / step_RG1).round().clamp(0, 2**bits - 1)
        self.register_buffer("codes", _pack(codes_RGW.to(torch.uint8).flatten(1), bits))

    @property
    def num_bytes(self) -> int:
        """Of codes, scales and biases."""
        return sum(part.numel() * part.element_size() for part in (self.codes, self.scale_RG, self.bias_RG))

    def forward(self, rows: Tensor) -> Tensor:
        """int64 row numbers [...] -> float32 [..., D]."""
        scale, bias = self.scale_RG[rows].float()[..., None], self.bias_RG[rows].float()[..., None]
        codes = _unpack(self.codes[rows], self.bits)
        values = codes.view(*scale.shape[:-1], GROUP_WIDTH).float() * scale + bias
        return values.flatten(-2)


def quantised(embedding: HashedEmbedding, bits: int) -> HashedEmbedding:
    """The same hashed embedding with its sub-tables in `bits`; cannot be trained further. Raises: as the table does."""
    made = copy.deepcopy(embedding)
    made.tables = nn.ModuleList(
        RowwiseEmbedding(table.weight, bits) for table in embedding.tables if isinstance(table, nn.Embedding)
    )
    return made.eval()


def _pack(codes_RD: Tensor, bits: int) -> Tensor:
    return codes_RD if bits == 8 else codes_RD[:, 0::2] | (codes_RD[:, 1::2] << 4)


def _unpack(codes: Tensor, bits: int) -> Tensor:
    return codes if bits == 8 else torch.stack([codes & 15, codes >> 4], dim=-1).flatten(-2)
