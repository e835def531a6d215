"""Feature crosses: DCNv2 and an MLP on the same raw input, side by side or one after the other.

Wang et al. 2021, "DCN V2: Improved deep & cross network". Shapes: B rows, D width of the input, H hidden, V output.
"""

import torch
from torch import Tensor, nn

from modeling.layers import Mlp


class DcnV2(nn.Module):
    """x[l+1] = x[0] ⊙ (W[l] x[l] + b[l]) + x[l]: each layer raises the degree of the crosses by one."""

    def __init__(self, width: int, num_layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(num_layers))

    def forward(self, rows_BD: Tensor) -> Tensor:
        """[B, D] -> [B, D]."""
        crossed_BD = rows_BD
        for layer in self.layers:
            crossed_BD = rows_BD * layer(crossed_BD) + crossed_BD
        return crossed_BD


class CrossAndDeep(nn.Module):
    """DCNv2 and a three-layer MLP that both read the raw input; their outputs are concatenated, then projected.

    With `is_sequential` the MLP reads what DCNv2 wrote and alone is projected: the form it is compared with.
    """

    def __init__(
        self, width_in: int, width_hidden: int, width_out: int, *, num_crosses: int = 2, is_sequential: bool = False
    ) -> None:
        super().__init__()
        self.is_sequential = is_sequential
        self.cross = DcnV2(width_in, num_crosses)
        self.deep = Mlp(width_in, width_hidden, width_hidden, width_hidden)
        self.project = nn.Linear(width_hidden if is_sequential else width_in + width_hidden, width_out)

    def forward(self, rows_BD: Tensor) -> Tensor:
        """[B, D] -> [B, V]."""
        crossed_BD = self.cross(rows_BD)
        if self.is_sequential:
            return torch.as_tensor(self.project(self.deep(crossed_BD)))
        return torch.as_tensor(self.project(torch.cat([crossed_BD, self.deep(rows_BD)], dim=-1)))
