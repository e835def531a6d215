"""The mixture against its formula, and gates that can tell tasks apart."""

import pytest
import torch

from modeling.mmoe import Mmoe


def test_each_task_is_its_own_weighted_sum_of_experts() -> None:
    torch.manual_seed(1)
    made, rows = Mmoe(6, 4, num_experts=3, num_tasks=2).double(), torch.randn(5, 7, 6, dtype=torch.float64)
    found = made(rows)
    assert found.shape == (5, 7, 2, 4)
    for task in range(2):
        weight_ED = made.gates.weight[task * 3 : task * 3 + 3]
        share = torch.softmax(rows @ weight_ED.T, dim=-1)
        expected = sum(share[..., [number]] * expert(rows) for number, expert in enumerate(made.experts))
        torch.testing.assert_close(found[..., task, :], expected, rtol=0.0, atol=1e-12)


def test_a_task_that_uses_one_expert_leaves_the_others_without_gradient() -> None:
    torch.manual_seed(1)
    made, rows = Mmoe(2, 4, num_experts=2, num_tasks=2), torch.ones(1, 2)
    with torch.no_grad():
        made.gates.weight.copy_(torch.tensor([[99.0, 0.0], [0.0, 0.0], [0.0, 0.0], [99.0, 0.0]]))
    made(rows)[0, 0].sum().backward()
    used, unused = (next(expert.parameters()).grad for expert in made.experts)
    assert used is not None and float(used.abs().max()) > 0.0
    assert unused is None or float(unused.abs().max()) < 1e-20


def test_no_experts_are_refused() -> None:
    with pytest.raises(ValueError, match="0 experts"):
        Mmoe(2, 2, num_experts=0, num_tasks=1)
