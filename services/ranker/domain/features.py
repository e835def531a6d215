"""Names, defaults and widths of the tensors that a ranking model may read; no torch here, the root uses it.

Shapes: L history events (oldest first), C candidates, W content width.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from modeling.arrays import AnyArray

EVENT_TYPES = ("click", "save", "long_view", "share", "conversion", "rating", "hide")
EVENT_TYPE_ROW = {name: row for row, name in enumerate(EVENT_TYPES, start=1)}  # 0 = padding or an unknown type
GENERATORS = ("co_engaged", "popular", "two_tower", "related", "fresh")
HEADS = ("click", "save", "hide", "long_view", "share", "conversion")
SURFACES = ("home", "related", "search")
SURFACE_ROW = {name: row for row, name in enumerate(SURFACES, start=1)}  # 0 = another one: the tower of all surfaces
MAX_HISTORY = 256

HISTORY = "history"
CANDIDATE = "candidate"


@dataclass(frozen=True)
class FeatureSpec:
    """One tensor: which axis it runs along, its dtype and the value that stands in for a missing one.

    `has_width` adds the content axis. `num_rows` of a table that it looks up bounds its values; 0 = they are numbers.
    """

    name: str
    axis: str
    dtype: type[np.generic]
    default: float
    has_width: bool = False
    num_rows: int = 0


def score_name(generator: str) -> str:
    """The tensor that carries a generator's scores; 0 with `NO_SCORE` where it did not return the candidate."""
    return f"score_{generator}"


UNKNOWN_AGE_S = -1.0
NO_SCORE = -1e6  # below any real score; the model turns it into "was not returned"

FEATURES: Mapping[str, FeatureSpec] = {
    spec.name: spec
    for spec in (
        FeatureSpec("history_pin", HISTORY, np.int64, 0),
        FeatureSpec("history_content", HISTORY, np.float32, 0.0, has_width=True),
        FeatureSpec("history_event_type", HISTORY, np.int64, 0, num_rows=len(EVENT_TYPES) + 1),
        FeatureSpec("history_age_s", HISTORY, np.float32, 0.0),
        FeatureSpec("candidate_pin", CANDIDATE, np.int64, 0),
        FeatureSpec("candidate_content", CANDIDATE, np.float32, 0.0, has_width=True),
        FeatureSpec("candidate_age_s", CANDIDATE, np.float32, UNKNOWN_AGE_S),
        FeatureSpec("candidate_price", CANDIDATE, np.float32, 0.0),
        FeatureSpec("surface", CANDIDATE, np.int64, 0, num_rows=len(SURFACES) + 1),
        *(FeatureSpec(score_name(generator), CANDIDATE, np.float32, NO_SCORE) for generator in GENERATORS),
    )
}


def shape_of(spec: FeatureSpec, num_history: int, num_candidates: int, width: int) -> tuple[int, ...]:
    """The shape a request of this size must have."""
    rows = num_history if spec.axis == HISTORY else num_candidates
    return (rows, width) if spec.has_width else (rows,)


@dataclass(frozen=True)
class Prepared:
    """Inputs a model can run on, and what had to be replaced."""

    tensors: Mapping[str, AnyArray]
    defaulted_inputs: tuple[str, ...]
    num_not_finite: int


def prepare(
    given: Mapping[str, AnyArray], names: Iterable[str], num_history: int, num_candidates: int, width: int
) -> Prepared:
    """Every named input with its dtype and shape; absent or misshapen ones, numbers that are not finite and rows that a
    table does not have take the default and are counted."""
    tensors: dict[str, AnyArray] = {}
    defaulted: list[str] = []
    num_not_finite = 0
    for name in names:
        spec = FEATURES[name]
        shape = shape_of(spec, num_history, num_candidates, width)
        value = given.get(name)
        if value is None or value.shape != shape:
            defaulted.append(name)
            tensors[name] = np.full(shape, spec.default, dtype=spec.dtype)
            continue
        is_bad = ~np.isfinite(value)
        if spec.num_rows:
            is_bad |= ~np.isin(value, range(spec.num_rows))
        num_not_finite += int(is_bad.sum())
        tensors[name] = np.where(is_bad, spec.default, value).astype(spec.dtype)
    return Prepared(tensors, tuple(defaulted), num_not_finite)
