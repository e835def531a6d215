"""A model as files of a bundle: weights without pickle's powers, and the signature beside them."""

import io
from pathlib import Path

import torch
from torch import nn

from chassis.errors import Corrupt
from modeling.signature import FILE_NAME, Signature

WEIGHTS_FILE = "model.pt"


def model_files(model: nn.Module, signature: Signature) -> dict[str, bytes]:
    """The files that `load_weights` and `signature.read` need, for a BundleStore to write."""
    buffer = io.BytesIO()
    torch.save(model.state_dict(), buffer)
    return {WEIGHTS_FILE: buffer.getvalue(), FILE_NAME: signature.to_json()}


def load_weights(model: nn.Module, bundle: Path) -> None:
    """Fill `model` from the bundle and put it in evaluation mode.

    Raises: Corrupt when the file is not a state dict, or holds other names, shapes or non-finite numbers.
    """
    try:
        state = torch.load(bundle / WEIGHTS_FILE, map_location="cpu", weights_only=True)
        model.load_state_dict(state, strict=True)
    except Exception as error:
        raise Corrupt(f"{bundle / WEIGHTS_FILE} does not fit the model: {error}", field=WEIGHTS_FILE) from error
    broken = [name for name, value in model.state_dict().items() if not torch.isfinite(value).all()]
    if broken:
        raise Corrupt(f"{bundle / WEIGHTS_FILE} holds NaN or Inf in {broken[:3]}", field=WEIGHTS_FILE)
    model.eval()
