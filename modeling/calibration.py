"""Platt scaling: a scale and a bias per head that turn logits into honest probabilities.

Platt 1999; fitted by Newton's method on the log loss with a weak pull towards the identity.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from chassis import strict_json
from chassis.errors import Corrupt
from modeling.arrays import Bools, Floats

FILE_NAME = "calibration.json"
PULL = 1e-3  # keeps the fit finite when one class is absent
NUM_STEPS = 25


@dataclass(frozen=True)
class Platt:
    """probability = sigmoid(scale × logit + bias)."""

    scale: float = 1.0
    bias: float = 0.0

    def __call__(self, logits: Floats) -> Floats:
        clipped = np.clip(self.scale * logits.astype(np.float64) + self.bias, -30.0, 30.0)
        return (1.0 / (1.0 + np.exp(-clipped))).astype(np.float32)


def fit_platt(logit_N: Floats, label_N: Bools) -> Platt:
    """The scale and bias with the least log loss; the identity when there is nothing to learn from."""
    if not label_N.any() or label_N.all():
        return Platt()
    features = np.stack([logit_N.astype(np.float64), np.ones(len(logit_N))], axis=1)
    weights = np.asarray([1.0, 0.0])
    for _ in range(NUM_STEPS):
        probability = 1.0 / (1.0 + np.exp(-np.clip(features @ weights, -30, 30)))
        gradient = features.T @ (probability - label_N) / len(label_N) + PULL * (weights - [1.0, 0.0])
        curvature = (features * (probability * (1 - probability))[:, None]).T @ features / len(label_N)
        step = np.linalg.solve(curvature + PULL * np.eye(2), gradient)
        weights = weights - np.clip(step, -1.0, 1.0)
    return Platt(float(weights[0]), float(weights[1])) if weights[0] > 0 else Platt()


def view_name(surface: str, head: str) -> str:
    """The name of a head's calibration on one surface; a head's own name is that of all surfaces."""
    return f"{surface}/{head}"


def pick(platt_by_name: Mapping[str, Platt], surface: str, head: str) -> Platt:
    """The calibration of this surface, else that of all, else the identity."""
    return platt_by_name.get(view_name(surface, head)) or platt_by_name.get(head) or Platt()


def reliability(label_N: Bools, probability_N: Floats, num_bins: int = 10) -> list[dict[str, float]]:
    """What was said and what happened in bins of equal count, lowest probabilities first."""
    order = np.argsort(probability_N, kind="stable")
    bins = [rows for rows in np.array_split(order, num_bins) if len(rows)]
    return [
        {
            "probability": float(probability_N[rows].mean()),
            "observed": float(label_N[rows].mean()),
            "num_examples": len(rows),
        }
        for rows in bins
    ]


def to_json(platt_by_name: Mapping[str, Platt], measured: Mapping[str, Mapping[str, Any]] | None = None) -> bytes:
    """The calibration file of a bundle; `measured` adds to each name what was found of it, which no server reads."""
    document = {
        name: {"scale": platt.scale, "bias": platt.bias, **(measured or {}).get(name, {})}
        for name, platt in platt_by_name.items()
    }
    return json.dumps(document, indent=1, sort_keys=True).encode()


def read(bundle: Path) -> dict[str, Platt]:
    """By head, and by surface and head. Raises: Corrupt when the file is missing or a number in it is not finite."""
    try:
        document = strict_json.loads((bundle / FILE_NAME).read_bytes())
        result = {head: Platt(float(row["scale"]), float(row["bias"])) for head, row in document.items()}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Corrupt(f"{bundle / FILE_NAME} is not a calibration: {error}", field=FILE_NAME) from error
    if not all(np.isfinite([platt.scale, platt.bias]).all() for platt in result.values()):
        raise Corrupt(f"{bundle / FILE_NAME} holds a number that is not finite", field=FILE_NAME)
    return result
