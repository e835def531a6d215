"""Several tasks over shared experts: each task weighs the experts by a gate of its own.

Ma et al. 2018, "Modeling task relationships in multi-task learning with multi-gate mixture-of-experts".
Shapes: D width of the input, E experts, V width of an expert, K tasks.
"""

import torch
from torch import Tensor, nn

from modeling.layers import Mlp


class Mmoe(nn.Module):
    """Σ_e softmax(W_k x)_e · E_e(x), for every task k."""

    def __init__(self, width_in: int, width_out: int, *, num_experts: int, num_tasks: int) -> None:
        super().__init__()
        if num_experts < 1 or num_tasks < 1:
            raise ValueError(f"{num_experts} experts and {num_tasks} tasks: at least one of each is needed")
        self.num_tasks = num_tasks
        self.experts = nn.ModuleList(Mlp(width_in, width_out, width_out) for _ in range(num_experts))
        self.gates = nn.Linear(width_in, num_tasks * num_experts, bias=False)

    def forward(self, rows: Tensor) -> Tensor:
        """[..., D] -> [..., K, V]."""
        outputs = torch.stack([expert(rows) for expert in self.experts], dim=-2)
        return self.shares(rows) @ outputs

    def shares(self, rows: Tensor) -> Tensor:
        """How much each task takes of each expert [..., K, E]; a task's shares add up to 1."""
        gates = torch.as_tensor(self.gates(rows)).view(*rows.shape[:-1], self.num_tasks, len(self.experts))
        return torch.softmax(gates, dim=-1)
