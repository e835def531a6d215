"""What the ranker said of shown pins against what happened, counted by surface, action and probability.

Shapes: N shown pins.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

SHOWN: pa.Schema = pa.schema([("surface", pa.string()), ("score_by_head", pa.string()), ("versions", pa.string())])
"""A shown pin, beside a bool column per label; both texts are JSON objects."""
EDGES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3)
"""Between the bins, two to a factor of ten: actions on a pin are rare, and their probabilities spread widely."""
BINS = (*(f"{edge:g}" for edge in EDGES), "1")
"""Names of the bins: the largest probability in each."""


@dataclass(frozen=True)
class Said:
    """Of one surface, head and bin: shown pins, the sum of their probabilities, and how many got the action."""

    surface: str
    head: str
    bin: str
    num_examples: int
    expected: float
    observed: int


def said_and_happened(rows: pa.Table, label_by_head: Mapping[str, str]) -> tuple[list[Said], int]:
    """The counts of rows of SHOWN, and how many probabilities were none: not in [0, 1], or of an unknown head."""
    scores = [json.loads(text) for text in rows.column("score_by_head").to_pylist()]
    surface_N = np.asarray(rows.column("surface").to_pylist(), dtype=object)
    counts: list[Said] = []
    num_good = 0
    for head, label in label_by_head.items():
        probability_N = np.asarray([_number(each.get(head)) for each in scores], dtype=np.float64)
        is_good_N = (probability_N >= 0) & (probability_N <= 1)
        num_good += int(is_good_N.sum())
        happened_N = rows.column(label).to_numpy(zero_copy_only=False).astype(np.bool_)
        for surface in sorted(set(surface_N[is_good_N])):
            chosen_N = is_good_N & (surface_N == surface)
            counts += _by_bin(surface, head, probability_N[chosen_N], happened_N[chosen_N])
    return counts, sum(map(len, scores)) - num_good


def _by_bin(
    surface: str, head: str, probability_N: NDArray[np.float64], happened_N: NDArray[np.bool_]
) -> Iterator[Said]:
    bin_N = np.searchsorted(EDGES, probability_N, side="left")
    for number, name in enumerate(BINS):
        in_N = bin_N == number
        if in_N.any():
            expected = float(probability_N[in_N].sum())
            yield Said(surface, head, name, int(in_N.sum()), expected, int(happened_N[in_N].sum()))


def _number(value: Any) -> float:
    """NaN for what is no number."""
    return float(value) if isinstance(value, int | float) else float("nan")
