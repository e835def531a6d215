"""What a model reads and writes, in a file that processes without torch can read as well."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chassis import strict_json
from chassis.errors import Corrupt

FILE_NAME = "module_info.json"


@dataclass(frozen=True)
class TensorSpec:
    """One named tensor: dtype and shape; -1 in a shape means any length."""

    name: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Signature:
    """The model's class, its tensors, and the settings it is rebuilt from."""

    model: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def input_names(self) -> tuple[str, ...]:
        return tuple(spec.name for spec in self.inputs)

    @property
    def output_names(self) -> tuple[str, ...]:
        return tuple(spec.name for spec in self.outputs)

    def to_json(self) -> bytes:
        """Canonical bytes; the inverse of `from_json`."""
        document = {
            "model": self.model,
            "input_names": self.input_names,
            "output_names": self.output_names,
            "inputs": [_spec_document(spec) for spec in self.inputs],
            "outputs": [_spec_document(spec) for spec in self.outputs],
            "settings": dict(self.settings),
        }
        return json.dumps(document, indent=1, sort_keys=True).encode()


def _spec_document(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "dtype": spec.dtype, "shape": list(spec.shape)}


def from_json(data: bytes) -> Signature:
    """Raises: Corrupt when the document is not a signature or names no input."""
    try:
        document = strict_json.loads(data)
        inputs, outputs = (
            tuple(TensorSpec(str(s["name"]), str(s["dtype"]), tuple(map(int, s["shape"]))) for s in document[side])
            for side in ("inputs", "outputs")
        )
        signature = Signature(str(document["model"]), inputs, outputs, dict(document["settings"]))
    except (ValueError, KeyError, TypeError) as error:
        raise Corrupt(f"{FILE_NAME} is not a signature: {error}", field=FILE_NAME) from error
    if not signature.inputs or not signature.outputs:
        raise Corrupt(f"{FILE_NAME} names no input or no output", field=FILE_NAME)
    return signature


def read(bundle: Path) -> Signature:
    """The signature of the bundle at `bundle`. Raises: Corrupt."""
    try:
        return from_json((bundle / FILE_NAME).read_bytes())
    except OSError as error:
        raise Corrupt(f"{bundle / FILE_NAME} cannot be read: {error}", field=FILE_NAME) from error
