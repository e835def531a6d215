"""Histories through the Transformer: padding, prefixes and the future change nothing; the reference is a plain loop."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from modeling.transformer import CausalBlock, HistoryTransformer

WIDTH, LENGTH = 8, 6


def _model(num_layers: int = 2) -> HistoryTransformer:
    torch.manual_seed(0)
    model = (
        HistoryTransformer(WIDTH, num_layers=num_layers, num_heads=2, max_length=LENGTH, dropout=0.3).double().eval()
    )
    for block in model.blocks:
        assert isinstance(block, CausalBlock)
        torch.nn.init.normal_(block.distance_bias)
    return model


def _rows(num: int) -> Tensor:
    return torch.randn(1, num, WIDTH, dtype=torch.float64)


def _real(*values: int) -> Tensor:
    return torch.tensor([values], dtype=torch.bool)


@torch.no_grad()
def _attend(block: CausalBlock, rows: Tensor) -> Tensor:
    """One block over one history, event by event and head by head."""
    normed = block.attention_norm(rows)
    queries, keys, values = block.qkv(normed).chunk(3, dim=-1)
    size, out = WIDTH // block.num_heads, []
    for t in range(len(rows)):
        heads = []
        for h in range(block.num_heads):
            part = slice(h * size, (h + 1) * size)
            scores = [
                float(queries[t, part] @ keys[s, part]) / math.sqrt(size) + float(block.distance_bias[h, t - s])
                for s in range(t + 1)
            ]
            weights = torch.softmax(torch.tensor(scores, dtype=torch.float64), dim=0)
            heads.append(sum(w * values[s, part] for s, w in enumerate(weights)))
        out.append(block.out(torch.cat(heads)))
    rows = rows + torch.stack(out)
    return torch.as_tensor(rows + block.inner(block.inner_norm(rows)))


def test_states_equal_those_of_a_loop_over_events_and_heads() -> None:
    model, rows = _model(), _rows(5)
    expected = rows[0]
    for block in model.blocks:
        assert isinstance(block, CausalBlock)
        expected = _attend(block, expected)
    expected = functional.layer_norm(expected, (WIDTH,), model.norm.weight, model.norm.bias)
    torch.testing.assert_close(model(rows, _real(1, 1, 1, 1, 1))[0].detach(), expected.detach())


def test_padding_on_the_left_changes_nothing_whatever_it_holds() -> None:
    model, rows = _model(), _rows(4)
    padded = torch.cat([1e6 * _rows(2), rows], dim=1)
    found = model(padded, _real(0, 0, 1, 1, 1, 1))
    torch.testing.assert_close(found[:, 2:], model(rows, _real(1, 1, 1, 1)))
    assert not found[:, :2].any(), "padded positions are zeros"


def test_each_state_is_the_last_state_of_its_own_prefix() -> None:
    model, rows = _model(), _rows(LENGTH)
    states = model(rows, torch.ones(1, LENGTH, dtype=torch.bool))
    for end in range(1, LENGTH + 1):
        alone = model(rows[:, :end], torch.ones(1, end, dtype=torch.bool))
        torch.testing.assert_close(states[:, end - 1], alone[:, -1])


def test_a_history_without_events_is_zeros_and_has_finite_gradients() -> None:
    model = _model()
    rows = _rows(3).requires_grad_()
    out = model(rows, _real(0, 0, 0))
    (out.sum() + model(rows, _real(0, 1, 1)).sum()).backward()
    assert not out.any()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_a_longer_history_than_the_model_was_made_for_is_refused() -> None:
    with pytest.raises(ValueError, match="7 positions"):
        _model()(_rows(LENGTH + 1), torch.ones(1, LENGTH + 1, dtype=torch.bool))
