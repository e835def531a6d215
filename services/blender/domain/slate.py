"""The slate: which candidate takes which slot, and why.

Shapes: N candidates, T picks.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from services.blender.domain.diversity import Diversity
from services.blender.domain.relevance import Floats, best_first, normalise
from services.blender.domain.spacing import SpacingRule, SpacingWindow

TIE = 1e-9  # utilities this close are equal and the lowest index wins: rounding must not decide
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
    diversity: Diversity,
    diversity_weight: float,
    spacing: Sequence[SpacingRule],
    num_slots: int,
) -> Slate:
    """Pick greedily by relevance + γ·novelty − spacing until the slots or the candidates are used up.

    Nothing is picked twice, nothing that is not finite wins over something that is, ties go to the lowest index.
    """
    filling = _Filling(relevance_N, diversity, diversity_weight, spacing)
    for _ in range(min(num_slots, len(relevance_N))):
        filling.pick()
    return filling.slate()


class _Filling:
    """The greedy loop's state."""

    def __init__(
        self, relevance_N: Floats, diversity: Diversity, diversity_weight: float, spacing: Sequence[SpacingRule]
    ) -> None:
        self._relevance_N = normalise(np.asarray(relevance_N, dtype=np.float64))
        self._by_relevance = best_first(np.asarray(relevance_N, dtype=np.float64))
        self._next_best = 0
        self._is_free_N = np.ones(len(relevance_N), dtype=np.bool_)
        self._taken_N: Floats = np.zeros(len(relevance_N))  # -inf once placed
        self._diversity, self._weight = diversity, diversity_weight
        self._spacing = SpacingWindow(spacing, len(relevance_N))
        self._dry_columns = {rule.name: column for column, rule in enumerate(spacing) if rule.is_dry_run}
        self._dry_moves = dict.fromkeys(self._dry_columns, 0)
        self._order: list[int] = []
        self._bonus: list[float] = []
        self._penalty: list[float] = []
        self._moved_by: dict[int, str] = {}
        self._last_mover = ""
        self._rank_N = np.argsort(self._by_relevance)

    def pick(self) -> None:
        bonus_N = self._weight * self._diversity.novelty_N()
        penalty_N = self._spacing.penalty_N()
        utility_N = self._relevance_N + bonus_N - penalty_N + self._taken_N
        chosen = _first_best(utility_N)
        self._note_move(chosen, bonus_N, penalty_N)
        for name, column in self._dry_columns.items():
            self._dry_moves[name] += _first_best(utility_N - self._spacing.dry_penalty_N(column)) != chosen
        self._order.append(chosen)
        self._bonus.append(float(bonus_N[chosen]))
        self._penalty.append(float(penalty_N[chosen]))
        self._take(chosen)

    def _take(self, chosen: int) -> None:
        self._taken_N[chosen] = -np.inf
        self._is_free_N[chosen] = False
        self._diversity.place(chosen)
        self._spacing.place(chosen)

    def _note_move(self, chosen: int, bonus_N: Floats, penalty_N: Floats) -> None:
        """When the best by relevance was passed over, remember what did it, for both."""
        while not self._is_free_N[self._by_relevance[self._next_best]]:
            self._next_best += 1
        passed = int(self._by_relevance[self._next_best])
        if passed == chosen:
            if self._rank_N[chosen] != len(self._order):  # others jumped before it
                self._moved_by.setdefault(chosen, self._last_mover)
            return
        by_diversity = float(bonus_N[chosen] - bonus_N[passed])
        by_spacing = float(penalty_N[passed] - penalty_N[chosen])
        mover = DIVERSITY if by_diversity >= by_spacing else self._hardest_class(passed)
        self._moved_by[passed] = self._last_mover = mover
        self._moved_by.setdefault(chosen, mover)

    def _hardest_class(self, index: int) -> str:
        return self._spacing.names[int(np.argmax(self._spacing.penalty_by_class_C(index)))]

    def slate(self) -> Slate:
        order_T = np.array(self._order, dtype=np.intp)
        return Slate(
            order_T,
            self._relevance_N[order_T],
            np.array(self._bonus, dtype=np.float64),
            np.array(self._penalty, dtype=np.float64),
            [self._moved_by.get(index, "") for index in self._order],
            self._dry_moves,
        )


def _first_best(utility_N: Floats) -> int:
    return int(np.argmax(utility_N >= utility_N.max() - TIE))
