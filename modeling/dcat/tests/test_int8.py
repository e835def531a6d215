"""Integer layers against exact integer arithmetic, and what they cost in quality on a whole stack."""

import torch
from torch import nn

from modeling.dcat.engine import Dcat
from modeling.dcat.int8_linear import Int8Linear, in_int8
from modeling.dcat.tests.batches import batch, model

MAX_RELATIVE_ERROR = 0.03  # of one layer on normal rows: two roundings of about 0.8 % each, and room


def test_a_layer_is_the_integer_product_of_its_codes() -> None:
    torch.manual_seed(0)
    trained, rows = nn.Linear(24, 16), torch.randn(2, 5, 24)
    layer = Int8Linear(trained)
    scale = rows.abs().amax(-1, keepdim=True) / 127
    product = (rows / scale).round().double() @ layer.weight_NK.double().T
    expected = product * scale * layer.scale_N + trained.bias.detach()
    torch.testing.assert_close(layer(rows), expected.float(), rtol=1e-5, atol=1e-6)


def test_a_layer_is_close_to_the_one_it_stands_in_for() -> None:
    torch.manual_seed(0)
    trained, rows = nn.Linear(256, 512), torch.randn(64, 256)
    expected = trained(rows).detach()
    error = float((Int8Linear(trained)(rows) - expected).norm() / expected.norm())
    assert 1e-4 < error < MAX_RELATIVE_ERROR


def test_rows_of_zeros_and_no_rows_are_finite() -> None:
    layer = Int8Linear(nn.Linear(16, 8))
    assert torch.equal(layer(torch.zeros(3, 16)), layer.bias_N.expand(3, -1))  # type: ignore[union-attr]
    assert layer(torch.zeros(0, 16)).shape == (0, 8)
    assert not Int8Linear(nn.Linear(16, 8, bias=False))(torch.zeros(2, 16)).any()


def test_one_loud_row_does_not_blur_the_others() -> None:
    torch.manual_seed(0)
    layer, rows = Int8Linear(nn.Linear(16, 8)), torch.randn(4, 16)
    loud = rows.clone()
    loud[0] *= 1e4
    assert torch.equal(layer(rows)[1:], layer(loud)[1:])


def test_a_stack_in_int8_keeps_its_scores_and_their_order_nearly() -> None:
    whole, given = model(torch.float32), batch([40, 13], [30, 30]).to(torch.float32)
    few = in_int8(whole)
    assert isinstance(few, Dcat)
    assert not [layer for layer in few.modules() if isinstance(layer, nn.Linear)]
    with torch.inference_mode():
        expected, found = whole(*given.inputs), few(*given.inputs)
    error = float((found - expected).norm() / expected.norm())
    assert 0.0 < error < 0.15, "sharp attention on purpose (see batches.model); the bench has an ordinary stack"
    head = torch.randn(expected.shape[1], generator=torch.Generator().manual_seed(2))
    correlation = torch.corrcoef(torch.stack([expected @ head, found @ head]))[0, 1]
    assert float(correlation) > 0.98
