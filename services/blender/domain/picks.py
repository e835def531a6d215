"""What a greedy loop found, slot by slot. Shapes: T picks, C spacing classes."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from services.blender.domain.relevance import Floats

TIE = 1e-9  # utilities this close are equal and the lowest index wins: rounding must not decide

Indices = NDArray[np.int64]


class Picks(NamedTuple):
    """`passed` is the best candidate by relevance that was free, the pick itself when nothing was passed over."""

    pick_T: Indices
    bonus_T: Floats
    penalty_T: Floats
    passed_T: Indices
    passed_bonus_T: Floats
    passed_penalty_T: Floats
    passed_class_T: Indices  # the spacing class that costs it most
    dry_moves_C: Indices  # picks that a dry-run class would have changed


def no_picks(num_picks: int, num_classes: int) -> Picks:
    """Arrays to be filled."""
    number_4T, index_3T = np.zeros((4, num_picks)), np.zeros((3, num_picks), dtype=np.int64)
    return Picks(
        pick_T=index_3T[0],
        bonus_T=number_4T[0],
        penalty_T=number_4T[1],
        passed_T=index_3T[1],
        passed_bonus_T=number_4T[2],
        passed_penalty_T=number_4T[3],
        passed_class_T=index_3T[2],
        dry_moves_C=np.zeros(num_classes, dtype=np.int64),
    )
