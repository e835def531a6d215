"""The greedy loop of the slate: slot by slot the candidate with the best utility.

Only candidates that could win are looked at: those whose relevance and the most that novelty may add reach the best
utility. They are a prefix, as candidates are numbered by falling relevance here.

Shape: N candidates.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from services.blender.domain.diversity.features import OrderedRows, PinRows
from services.blender.domain.diversity.port import Diversity, NoDiversity
from services.blender.domain.diversity.strategies import DiversityPlan
from services.blender.domain.picks import TIE, Picks, no_picks
from services.blender.domain.relevance import Floats
from services.blender.domain.spacing import SpacingRule, SpacingWindow


class Pool(NamedTuple):
    """What is picked from. Row `index_N[i]` of `rows` and of the rules is candidate i; the tail's rows lie behind."""

    relevance_N: Floats  # falling
    index_N: NDArray[np.intp]
    rows: PinRows
    plan: DiversityPlan
    spacing: Sequence[SpacingRule]


class Greedy(Protocol):
    """A loop over the slots."""

    def __call__(self, pool: Pool, num_picks: int) -> Picks:
        """So many picks; the pool has as many candidates at least."""
        ...


def greedy(pool: Pool, num_picks: int) -> Picks:
    """The loop for every strategy."""
    picks = no_picks(num_picks, len(pool.spacing))
    filling = _Filling(pool)
    for slot in range(num_picks):
        filling.pick(slot, picks)
    return picks


class _Filling:
    """The loop's state."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._open_N = pool.relevance_N.copy()  # -inf once placed
        self._rising_N = -pool.relevance_N
        self._bonus_N, self._penalty_N, self._utility_N = np.zeros((3, len(pool.relevance_N)))
        self._diversity = _diversity(pool)
        self._spacing = SpacingWindow(pool.spacing, pool.index_N)
        self._reach = pool.plan.weight * self._diversity.max_novelty + self._spacing.most_dry_penalty + TIE
        self._first_free = 0
        self._num_running = 0  # candidates that could have won the slots so far

    def pick(self, slot: int, picks: Picks) -> None:
        """Fill one slot and take note of it."""
        while self._open_N[self._first_free] == -np.inf:
            self._first_free += 1
        chosen, passed = self._first_best(self._utilities()), self._first_free
        for column in self._spacing.dry_runs:
            dry_penalty = self._spacing.dry_penalty(column, 0, self._num_running)
            picks.dry_moves_C[column] += self._first_best(self._utility_N[: self._num_running] - dry_penalty) != chosen
        picks.pick_T[slot], picks.bonus_T[slot] = chosen, self._bonus_N[chosen]
        picks.passed_T[slot], picks.passed_bonus_T[slot] = passed, self._bonus_N[passed]
        if self._pool.spacing:
            penalty, passed_penalty = self._penalty_N[chosen], self._penalty_N[passed]
            picks.penalty_T[slot], picks.passed_penalty_T[slot] = penalty, passed_penalty
            if (
                chosen != passed and passed_penalty - penalty > self._bonus_N[chosen] - self._bonus_N[passed]
            ):  # spacing passed it over
                picks.passed_class_T[slot] = self._spacing.penalty_by_class_C(passed).argmax()
        self._open_N[chosen] = -np.inf
        self._diversity.place(chosen)
        self._spacing.place(chosen)

    def _utilities(self) -> Floats:
        """Of all that could win this slot."""
        looked_at = max(self._num_running, self._first_free + 1)
        self._look(0, looked_at)
        utility = self._utility_N[:looked_at]
        least = utility[utility.argmax()] - self._reach
        self._num_running = max(looked_at, int(self._rising_N.searchsorted(-least, side="right")))
        self._look(looked_at, self._num_running)
        return self._utility_N[: self._num_running]

    def _look(self, start: int, stop: int) -> None:
        if start == stop:
            return
        bonus, utility = self._bonus_N[start:stop], self._utility_N[start:stop]
        np.multiply(self._diversity.novelty(start, stop), self._pool.plan.weight, out=bonus)
        np.add(self._open_N[start:stop], bonus, out=utility)
        if self._pool.spacing:
            penalty = self._penalty_N[start:stop]
            self._spacing.penalty(start, stop, out=penalty)
            utility -= penalty

    def _first_best(self, utility: Floats) -> int:
        """The best; of equal ones the first one in the rows."""
        first = int(utility.argmax())
        best = utility[first]
        utility[first] = -np.inf
        has_equals = utility[utility.argmax()] >= best - TIE  # argmax costs a third of max
        utility[first] = best
        if not has_equals:
            return first
        equals = np.flatnonzero(utility >= best - TIE)
        return int(equals[self._pool.index_N[equals].argmin()])


def _diversity(pool: Pool) -> Diversity:
    if pool.plan.is_off:
        return NoDiversity()
    candidates, tail = pool.rows.split(len(pool.index_N))
    return pool.plan.over(OrderedRows(candidates, pool.index_N), tail)
