"""A model as the leaf hosts it: signature, weights, calibration, and a golden request it must answer as in training.

Shapes: C candidates, H heads.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from chassis.errors import Corrupt, Invalid
from modeling.arrays import AnyArray, Floats
from modeling.calibration import Platt, pick
from modeling.signature import Signature
from services.ranker.domain.features import MAX_HISTORY, SURFACES, prepare
from services.ranker.domain.history_ranker import HistoryRanker

GOLDEN_TOLERANCE = 1e-3  # float32 on another CPU differs by ~1e-5; a wrong weight by far more


@dataclass(frozen=True)
class Answer:
    """Calibrated probability per head [C], and which inputs took their defaults."""

    probability_by_head: Mapping[str, Floats]
    defaulted_inputs: tuple[str, ...]
    num_not_finite: int


@dataclass(frozen=True)
class HostedModel:
    """One version of a model, ready to score."""

    version: str
    model: HistoryRanker
    signature: Signature
    calibration: Mapping[str, Platt]

    def answer(self, given: Mapping[str, AnyArray]) -> Answer:
        """Score one request. Raises: Invalid when the request names no candidates or too long a history."""
        num_candidates, num_history = _length(given, "candidate_pin"), _length(given, "history_pin")
        if num_history > MAX_HISTORY:
            raise Invalid(f"history of {num_history} events, at most {MAX_HISTORY} are read", field="inputs")
        width = self.model.settings.content_width
        prepared = prepare(given, self.signature.input_names, num_history, num_candidates, width)
        logit_CH = self.logits(prepared.tensors)
        heads = self.signature.output_names
        surface = _surface(prepared.tensors)
        probabilities = {
            head: pick(self.calibration, surface, head)(logit_CH[:, row]) for row, head in enumerate(heads)
        }
        return Answer(probabilities, prepared.defaulted_inputs, prepared.num_not_finite)

    def logits(self, tensors: Mapping[str, AnyArray]) -> Floats:
        """Raw logits [C, H] of prepared tensors."""
        inputs = {name: torch.from_numpy(np.ascontiguousarray(value))[None] for name, value in tensors.items()}
        with torch.inference_mode():
            return np.asarray(self.model(inputs)[0].numpy())

    def check(self, golden_inputs: Mapping[str, AnyArray], golden_logit_CH: Floats) -> None:
        """Raises: Corrupt when the golden request is not answered as it was in training."""
        given = self.logits(golden_inputs)
        if given.shape != golden_logit_CH.shape or not np.allclose(given, golden_logit_CH, atol=GOLDEN_TOLERANCE):
            raise Corrupt(f"model {self.version} answers its golden request with other numbers than in training")


def _surface(tensors: Mapping[str, AnyArray]) -> str:
    """Whose calibration holds; the rows of one request are of one surface. Empty = the calibration of all."""
    rows = tensors.get("surface")
    row = int(rows[0]) if rows is not None and len(rows) else 0
    return SURFACES[row - 1] if 0 < row <= len(SURFACES) else ""


def _length(given: Mapping[str, AnyArray], name: str) -> int:
    if name not in given or given[name].ndim != 1:
        raise Invalid(f"input {name} must be there with one axis: it says how many rows the others have", field=name)
    return len(given[name])
