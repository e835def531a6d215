"""The slate step for other callers: checked inputs in, picks out.

Shapes: N candidates, D dimensions, K tail items.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chassis.errors import Invalid
from services.blender.domain.diversity.features import PinRows, nothing_known, of_vectors
from services.blender.domain.diversity.strategies import STRATEGIES, DiversityPlan, Strategy
from services.blender.domain.greedy import Greedy
from services.blender.domain.slate import Slate, fill

MAX_CANDIDATES = 20_000
MAX_SLATE_SIZE = 1_000
MAX_WINDOW = 100
MAX_WEIGHT = 100.0
MAX_DIMENSIONS = 4_096
DEFAULT_WINDOW = 8
DEFAULT_STRATEGY: Strategy = "ssd"

Floating = NDArray[np.floating]


@dataclass(frozen=True)
class BlendInput:
    """`window` 0 means the default, `strategy` "" means ssd."""

    ids: Sequence[str]
    relevance_N: Floating
    vectors_ND: Floating
    slate_size: int
    strategy: str
    diversity_weight: float
    window: int
    tail_KD: Floating


def blend(given: BlendInput, loop: Greedy) -> Slate:
    """Raises: Invalid naming the field at fault."""
    check(given)
    strategy = next((each for each in STRATEGIES if each == given.strategy), DEFAULT_STRATEGY)
    plan = DiversityPlan(strategy, given.diversity_weight, given.window or DEFAULT_WINDOW)
    return fill(given.relevance_N.astype(np.float64), _rows(given, plan), plan, [], given.slate_size, loop=loop)


def _rows(given: BlendInput, plan: DiversityPlan) -> PinRows:
    if plan.is_off or not len(given.ids):
        return nothing_known(len(given.ids))
    return of_vectors(np.concatenate([given.vectors_ND, given.tail_KD]) if len(given.tail_KD) else given.vectors_ND)


def check(given: BlendInput) -> None:
    """Raises: Invalid naming the field at fault."""
    num_ids = len(given.ids)
    _require(num_ids <= MAX_CANDIDATES, "ids", f"{num_ids} candidates, at most {MAX_CANDIDATES}")
    _require(len(set(given.ids)) == num_ids, "ids", "an id comes twice")
    _require(all(given.ids), "ids", "an id is empty")
    _require(
        1 <= given.slate_size <= MAX_SLATE_SIZE,
        "slate_size",
        f"slate_size is {given.slate_size}, must be in 1..{MAX_SLATE_SIZE}",
    )
    _require(
        given.strategy in ("", *STRATEGIES),
        "strategy",
        f"strategy {given.strategy[:32]!r} is none of {', '.join(STRATEGIES)}",
    )
    _require(
        0.0 <= given.diversity_weight <= MAX_WEIGHT,
        "diversity_weight",  # false for NaN
        f"diversity_weight is {given.diversity_weight}, must be in 0..{MAX_WEIGHT:g}",
    )
    _require(0 <= given.window <= MAX_WINDOW, "window", f"window is {given.window}, must be in 0..{MAX_WINDOW}")
    _check_arrays(given)


def _check_arrays(given: BlendInput) -> None:
    num_ids = len(given.ids)
    _require(
        given.relevance_N.shape == (num_ids,),
        "relevance",
        f"relevance has shape {given.relevance_N.shape}, must be ({num_ids},)",
    )
    _require(bool(np.isfinite(given.relevance_N).all()), "relevance", "relevance has a value that is not finite")
    if given.strategy == "none" or not num_ids:
        return
    shape = given.vectors_ND.shape
    _require(
        len(shape) == 2 and shape[0] == num_ids and 1 <= shape[1] <= MAX_DIMENSIONS,
        "vectors",
        f"vectors have shape {shape}, must be ({num_ids}, 1..{MAX_DIMENSIONS})",
    )
    _require(bool(np.isfinite(given.vectors_ND).all()), "vectors", "vectors have a value that is not finite")
    tail = given.tail_KD.shape
    _require(
        len(tail) == 2 and tail[0] <= MAX_WINDOW and (tail[0] == 0 or tail[1] == shape[1]),
        "seed_tail",
        f"seed_tail has shape {tail}, must be (0..{MAX_WINDOW}, {shape[1]})",
    )
    _require(bool(np.isfinite(given.tail_KD).all()), "seed_tail", "seed_tail has a value that is not finite")


def _require(is_met: bool, field: str, message: str) -> None:
    if not is_met:
        raise Invalid(message, field=field, reason=f"bad_{field}")
