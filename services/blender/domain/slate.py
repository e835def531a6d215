"""The slate: which candidate takes which slot, and why.

Shapes: N candidates, T picks.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from services.blender.domain.diversity.features import PinRows
from services.blender.domain.diversity.strategies import DiversityPlan
from services.blender.domain.greedy import Greedy, Pool, greedy
from services.blender.domain.picks import Picks
from services.blender.domain.relevance import Floats, best_first, normalise
from services.blender.domain.spacing import SpacingRule

DIVERSITY = "diversity"


@dataclass(frozen=True)
class Slate:
    """`order_T` are indices into the candidates; the other arrays belong to those picks, when they were picked."""

    order_T: NDArray[np.intp]
    relevance_T: Floats
    bonus_T: Floats
    penalty_T: Floats
    moved_by: Sequence[str]  # what moved each pick from its place by relevance; empty = nothing did
    dry_run_moves: dict[str, int] = field(default_factory=dict)  # class -> picks it would have changed


def fill(
    relevance_N: Floats,
    rows: PinRows,
    plan: DiversityPlan,
    spacing: Sequence[SpacingRule],
    num_slots: int,
    *,
    loop: Greedy = greedy,
) -> Slate:
    """Pick greedily by relevance + γ·novelty − spacing until the slots or the candidates are used up.

    `rows` tell similarities of the candidates and, behind them, of the items placed before, oldest first; they are not
    read when the plan is off. Nothing is picked twice, nothing that is not finite wins over something that is, ties go
    to the lowest index.
    """
    given_N = np.asarray(relevance_N, dtype=np.float64)
    index_N = best_first(given_N)
    pool = Pool(normalise(given_N)[index_N], index_N, rows, plan, spacing)
    picks = loop(pool, min(num_slots, len(given_N)))
    return Slate(
        index_N[picks.pick_T],
        pool.relevance_N[picks.pick_T],
        picks.bonus_T,
        picks.penalty_T,
        _moved_by(picks, [rule.name for rule in spacing]),
        {rule.name: int(moves) for rule, moves in zip(spacing, picks.dry_moves_C, strict=True) if rule.is_dry_run},
    )


def _moved_by(picks: Picks, class_names: Sequence[str]) -> list[str]:
    """When the best by relevance was passed over, what did it, for both."""
    more_bonus_T = picks.bonus_T - picks.passed_bonus_T
    less_penalty_T = picks.passed_penalty_T - picks.penalty_T
    is_by_diversity_T = (more_bonus_T >= less_penalty_T).tolist()
    order, by_candidate, last_mover = picks.pick_T.tolist(), dict[int, str](), ""
    for slot, (pick, passed) in enumerate(zip(order, picks.passed_T.tolist(), strict=True)):
        if pick != passed:
            last_mover = DIVERSITY if is_by_diversity_T[slot] else class_names[picks.passed_class_T[slot]]
            by_candidate[passed] = last_mover
            by_candidate.setdefault(pick, last_mover)
        elif pick != slot:  # a candidate's number is the slot it has by relevance: others jumped before it
            by_candidate.setdefault(pick, last_mover)
    return [by_candidate.get(pick, "") for pick in order]
