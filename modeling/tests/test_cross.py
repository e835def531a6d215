"""DCNv2 and the MLP read the same raw input; the reference is the formula written out."""

import torch

from modeling.cross import CrossAndDeep, DcnV2


def test_dcn_v2_equals_its_formula() -> None:
    torch.manual_seed(0)
    model, rows = DcnV2(3, num_layers=2).double(), torch.randn(4, 3, dtype=torch.float64)
    for row, found in zip(rows, model(rows), strict=True):
        x = row
        for layer in model.layers:
            assert isinstance(layer, torch.nn.Linear)
            x = torch.stack([row[i] * (layer.weight[i] @ x + layer.bias[i]) + x[i] for i in range(3)])
        torch.testing.assert_close(found, x)


def test_side_by_side_concatenates_both_views_of_the_raw_input() -> None:
    torch.manual_seed(0)
    model, rows = CrossAndDeep(5, 7, 2), torch.randn(3, 5)
    weight, bias = model.project.weight, model.project.bias
    expected = model.cross(rows) @ weight[:, :5].T + model.deep(rows) @ weight[:, 5:].T + bias
    torch.testing.assert_close(model(rows), expected)


def test_the_sequential_form_shows_the_mlp_the_crosses_only() -> None:
    torch.manual_seed(0)
    model, rows = CrossAndDeep(5, 7, 2, is_sequential=True), torch.randn(3, 5)
    torch.testing.assert_close(model(rows), model.project(model.deep(model.cross(rows))))
    assert model.project.in_features == 7
