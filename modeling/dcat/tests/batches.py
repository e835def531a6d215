"""Ragged batches and seeded models for the tests of DCAT."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from modeling.dcat.cost import Cost, CostModel
from modeling.dcat.engine import Dcat, DcatSettings

WIDTH = 16
ALWAYS_TWO_PASSES = CostModel(two_passes=Cost(0.0, 0.0), packed=Cost(1.0, 0.0))
ALWAYS_PACKED = CostModel(two_passes=Cost(1.0, 0.0), packed=Cost(0.0, 0.0))
SETTINGS = DcatSettings(WIDTH, num_layers=3, num_heads=2)


@dataclass(frozen=True)
class Batch:
    """Inputs of `Dcat.forward`."""

    history_ULD: Tensor
    length_U: Tensor
    candidates_ND: Tensor
    user_index_N: Tensor

    @property
    def inputs(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return self.history_ULD, self.length_U, self.candidates_ND, self.user_index_N

    def to(self, dtype: torch.dtype) -> "Batch":
        return replace(self, history_ULD=self.history_ULD.to(dtype), candidates_ND=self.candidates_ND.to(dtype))


def model(
    dtype: torch.dtype = torch.float64, cost: CostModel = ALWAYS_TWO_PASSES, *, has_recency: bool = False
) -> Dcat:
    """Seeded; weights large enough that attention is far from uniform."""
    torch.manual_seed(0)
    made = Dcat(replace(SETTINGS, has_recency=has_recency), cost)
    for block in made.stack:
        for layer in (block.query, block.key_value):
            torch.nn.init.normal_(layer.weight, std=0.5)
    return made.to(dtype).eval()


def batch(lengths: list[int], counts: list[int], *, size: int = 0, seed: int = 1) -> Batch:
    """Users with `lengths` events in rows of `size` (0 = the longest), and `counts` candidates in a shuffled order."""
    random = torch.Generator().manual_seed(seed)
    history = torch.randn(len(lengths), size or max(lengths), WIDTH, generator=random, dtype=torch.float64)
    users = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    users = users[torch.randperm(len(users), generator=random)]
    candidates = torch.randn(len(users), WIDTH, generator=random, dtype=torch.float64)
    return Batch(history, torch.tensor(lengths), candidates, users)
