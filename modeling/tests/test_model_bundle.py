"""Bundles are read back whole, and refused when they are not what they claim."""

from pathlib import Path

import pytest
import torch
from torch import nn

from chassis.errors import Corrupt
from modeling import signature
from modeling.model_bundle import load_weights, model_files
from modeling.signature import Signature, TensorSpec

SIGNATURE = Signature("m", (TensorSpec("x", "float32", (-1, 2)),), (TensorSpec("y", "float32", (-1,)),), {"a": 1})


def _write(folder: Path, model: nn.Module) -> None:
    for name, content in model_files(model, SIGNATURE).items():
        (folder / name).write_bytes(content)


def test_weights_and_signature_come_back(tmp_path: Path) -> None:
    model, other = nn.Linear(2, 1), nn.Linear(2, 1)
    _write(tmp_path, model)
    load_weights(other, tmp_path)
    assert torch.equal(model.weight, other.weight)
    assert not other.training
    assert signature.read(tmp_path) == SIGNATURE


def test_weights_of_another_shape_are_corrupt(tmp_path: Path) -> None:
    _write(tmp_path, nn.Linear(3, 1))
    with pytest.raises(Corrupt):
        load_weights(nn.Linear(2, 1), tmp_path)


def test_a_weight_that_is_nan_is_corrupt(tmp_path: Path) -> None:
    model = nn.Linear(2, 1)
    with torch.no_grad():
        model.weight[0, 0] = float("nan")
    _write(tmp_path, model)
    with pytest.raises(Corrupt, match="NaN"):
        load_weights(nn.Linear(2, 1), tmp_path)


@pytest.mark.parametrize("content", [b"", b"[]", b'{"model": "m", "inputs": [], "outputs": [], "settings": {}}'])
def test_a_file_that_is_no_signature_is_corrupt(content: bytes) -> None:
    with pytest.raises(Corrupt):
        signature.from_json(content)
