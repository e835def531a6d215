"""Honest probabilities per surface and head: a scale and bias on each logit, and what they were worth.

What is reported is measured on requests that the scale and bias did not see: each half of the requests is judged by a
fit on the other one. What is shipped is fitted on both.
Shapes: N examples, H heads.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from modeling.arrays import Bools, Floats, Ints
from modeling.calibration import Platt, fit_platt, reliability, view_name
from modeling.evaluation import calibration_error, honest_error
from services.ranker.domain.features import HEADS, SURFACES

MIN_POSITIVES = 30  # of a surface: below that a fit of its own is noise, and that of all surfaces serves


@dataclass(frozen=True)
class Examples:
    """Held-out candidates: raw logits, labels, the row of the surface and the request of each."""

    logit_NH: Floats
    label_NH: Bools
    surface_N: Ints
    request_N: Ints


@dataclass(frozen=True)
class Calibrated:
    """By head and by `surface/head`: what serves, and what was measured."""

    platt: Mapping[str, Platt]
    measured: Mapping[str, Mapping[str, Any]]

    @property
    def errors(self) -> dict[str, dict[str, float]]:
        """Calibration error by name, of raw logits and after, both on requests that no fit saw, and of honest ones."""
        columns = ("error_before", "error_after", "error_honest", "num_examples", "num_positives")
        return {name: {column: found[column] for column in columns} for name, found in self.measured.items()}


def calibrate(examples: Examples) -> Calibrated:
    """Every head that has both labels, over all surfaces and on each with enough of them."""
    platt: dict[str, Platt] = {head: Platt() for head in HEADS}
    measured: dict[str, Mapping[str, Any]] = {}
    for name, column, is_used_N in views(examples):
        logit_N, label_N = examples.logit_NH[is_used_N, column], examples.label_NH[is_used_N, column]
        platt[name] = fit_platt(logit_N, label_N)
        measured[name] = _measure(logit_N, label_N, examples.request_N[is_used_N])
    return Calibrated(platt, measured)


def views(examples: Examples) -> Iterator[tuple[str, int, Bools]]:
    """Name, column and examples of each fit."""
    for column, head in enumerate(HEADS):
        label_N = examples.label_NH[:, column]
        if not label_N.any() or label_N.all():
            continue
        yield head, column, np.ones(len(label_N), dtype=np.bool_)
        for row, surface in enumerate(SURFACES, start=1):
            is_here_N = examples.surface_N == row
            if label_N[is_here_N].sum() >= MIN_POSITIVES and not label_N[is_here_N].all():
                yield view_name(surface, head), column, is_here_N


def _measure(logit_N: Floats, label_N: Bools, request_N: Ints) -> dict[str, Any]:
    """Calibration error of raw logits and of probabilities from a fit on other requests, with both tables.

    `error_honest` is what right probabilities would show on as many examples.
    """
    before_N, after_N = Platt()(logit_N), np.empty(len(logit_N), dtype=np.float32)
    for half in (0, 1):
        is_half_N = request_N % 2 == half
        after_N[is_half_N] = fit_platt(logit_N[~is_half_N], label_N[~is_half_N])(logit_N[is_half_N])
    return {
        "num_examples": len(label_N),
        "num_positives": int(label_N.sum()),
        "error_before": calibration_error(label_N, before_N),
        "error_after": calibration_error(label_N, after_N),
        "error_honest": honest_error(after_N),
        "reliability_before": reliability(label_N, before_N),
        "reliability": reliability(label_N, after_N),
    }
