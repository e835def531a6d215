"""Soft spacing: a candidate loses utility for each of its like that stands close before it. Nothing is filtered.

Shapes: N candidates, C classes, L levels of a code, K columns of codes over all classes and levels, S slots that the
longest class looks back, I ids of codes over all columns.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from services.blender.domain.relevance import Floats

NOT_A_MEMBER = -1
NO_ID = 0
Kernel = Literal["inverse", "exponential", "step"]
Codes = NDArray[np.int64]


@dataclass(frozen=True)
class SpacingRule:
    """One class over the candidates of one slate.

    `codes_N` is equal for pins that should stand apart and `NOT_A_MEMBER` where the class does not apply. With levels,
    [N, L], pins are alike by max(0, lcp / L - threshold), lcp = levels that two codes share from the first on.
    `tail_codes` are those of the items placed before, oldest first. `penalty` is in standard deviations of relevance.
    `num_free` like pins may stand in the window before any penalty counts. A member pays `penalty` for each of the
    first `first_slot` slots it would stand in.
    """

    name: str
    codes_N: Codes
    tail_codes: Sequence[int] | Sequence[Sequence[int]]
    penalty: float
    window: int
    kernel: Kernel = "inverse"
    decay: float = 3.0
    is_dry_run: bool = False
    threshold: float = 0.0
    num_free: int = 0
    first_slot: int = 0

    def weights(self) -> Floats:
        """Penalty at distance 1, 2, .. window."""
        distance = np.arange(1, self.window + 1, dtype=np.float64)
        if self.kernel == "inverse":
            return self.penalty / distance
        if self.kernel == "exponential":
            return self.penalty * np.exp(-(distance - 1.0) / self.decay)
        return np.full_like(distance, self.penalty)

    def most(self) -> float:
        """More than this a pin never loses to the class."""
        return float(self.weights().sum()) + (self.penalty if self.first_slot else 0.0)


@dataclass(frozen=True)
class _Column:
    """Prefixes of one length of the codes of one class, as ids from 1 on; `NO_ID` = not a member."""

    class_number: int
    id_N: Codes
    tail_ids: Codes
    gain: float  # likeness that this level adds
    num_ids: int


class SpacingWindow:
    """What stood in the last slots, and what each candidate would lose in the next one.

    Candidate i is row `index_N[i]` of the rules. All is looked up in one table of what each code costs in a slot.
    """

    def __init__(self, rules: Sequence[SpacingRule], index_N: NDArray[np.intp]) -> None:
        self.dry_runs = [number for number, rule in enumerate(rules) if rule.is_dry_run]
        self.most_dry_penalty = max((rules[number].most() for number in self.dry_runs), default=0.0)
        columns = [column for number, rule in enumerate(rules) for column in _columns(number, rule)]
        num_slots = max((rule.window for rule in rules), default=0)
        self.class_K: Codes = np.array([column.class_number for column in columns], dtype=np.int64)
        self.id_KN: Codes = np.zeros((len(columns), len(index_N)), dtype=np.int64)
        self.penalty_SK: Floats = np.zeros((num_slots, len(columns)))  # at distance 1, 2, ...
        self.placed_SK: Codes = np.zeros((num_slots, len(columns)), dtype=np.int64)  # the newest first
        self.num_ids = 1 + sum(column.num_ids for column in columns)
        self.num_free_I: Codes = np.zeros(self.num_ids, dtype=np.int64)
        self.first_slot_I: Codes = np.zeros(self.num_ids, dtype=np.int64)
        self.first_penalty_I: Floats = np.zeros(self.num_ids)
        offset = 0
        for k, column in enumerate(columns):
            rule = rules[column.class_number]
            self.id_KN[k] = _shifted(column.id_N[index_N], offset)
            self.penalty_SK[: rule.window, k] = rule.weights() * column.gain
            if len(column.tail_ids):
                tail = _shifted(column.tail_ids, offset)[::-1][:num_slots]
                self.placed_SK[: len(tail), k] = tail
            own = slice(offset + 1, offset + 1 + column.num_ids)
            self.num_free_I[own], self.first_slot_I[own] = rule.num_free, rule.first_slot
            self.first_penalty_I[own] = rule.penalty * column.gain
            offset += column.num_ids
        self._is_limited = bool(self.num_free_I.any())
        self._last_first_slot = int(self.first_slot_I.max())
        self._rows_of_class = [np.flatnonzero(self.class_K == number) for number in range(len(rules))]
        is_applied_K = np.array([not rules[number].is_dry_run for number in self.class_K], dtype=np.bool_)
        applied_KN = self.id_KN if is_applied_K.all() else self.id_KN[is_applied_K]
        self._applied_NK = np.ascontiguousarray(applied_KN.T)
        self._ones_K: Floats = np.ones(len(applied_KN))
        self._is_dry_C = np.array([rule.is_dry_run for rule in rules], dtype=np.bool_)
        self._flat_penalty, self._flat_placed = self.penalty_SK.ravel(), self.placed_SK.reshape(-1)
        self._num_columns = len(columns)
        self._slot = 0
        self._cost_I = self._cost()

    def penalty(self, start: int, stop: int, out: Floats) -> None:
        """Utility that these candidates would lose in the next slot, over all classes that are not dry runs."""
        np.dot(self._cost_I.take(self._applied_NK[start:stop], mode="clip"), self._ones_K, out=out)

    def penalty_by_class_C(self, candidate: int) -> Floats:
        """What a candidate would lose to each class in the next slot; nothing to a dry run."""
        cost_K = self._cost_I[self.id_KN[:, candidate]]
        lost_C = np.bincount(self.class_K, weights=cost_K, minlength=len(self._is_dry_C))
        return np.where(self._is_dry_C, 0.0, lost_C)

    def dry_penalty(self, class_number: int, start: int, stop: int) -> Floats:
        """What a dry-run class would take from these candidates in the next slot."""
        rows = self._rows_of_class[class_number]
        lost: Floats = self._cost_I[self.id_KN[rows, start:stop]].sum(axis=0)
        return lost

    def place(self, candidate: int) -> None:
        """A candidate takes the next slot."""
        if len(self.placed_SK):
            self._flat_placed[self._num_columns :] = self._flat_placed[: -self._num_columns]
            self._flat_placed[: self._num_columns] = self.id_KN[:, candidate]
            self._slot += 1
            self._cost_I = self._cost()

    def _cost(self) -> Floats:
        """Of a pin with each id in the next slot."""
        placed = self._flat_placed
        cost_I: Floats = np.asarray(np.bincount(placed, self._flat_penalty, self.num_ids), dtype=np.float64)
        if self._is_limited:
            counted = placed[(self.penalty_SK > 0.0).ravel()]
            cost_I[np.bincount(counted, minlength=self.num_ids) < self.num_free_I] = 0.0
        if self._slot < self._last_first_slot:
            cost_I += self.first_penalty_I * (self._slot < self.first_slot_I)
        cost_I[NO_ID] = 0.0
        return cost_I


def _shifted(id_N: Codes, offset: int) -> Codes:
    return np.where(id_N == NO_ID, NO_ID, id_N + offset)


def _columns(number: int, rule: SpacingRule) -> list[_Column]:
    num = len(rule.codes_N)
    if rule.codes_N.size == num:
        codes_M = np.concatenate([rule.codes_N.ravel(), np.asarray(rule.tail_codes, dtype=np.int64).ravel()])
        dense_M, num_ids = _dense(codes_M)
        id_M = np.where(codes_M == NOT_A_MEMBER, NO_ID, dense_M + 1)
        return [_Column(number, id_M[:num], id_M[num:], 1.0, num_ids)]
    num_levels = rule.codes_N.shape[1]
    tail = np.asarray(rule.tail_codes, dtype=np.int64).reshape(len(rule.tail_codes), num_levels)
    codes_ML = np.concatenate([rule.codes_N.reshape(num, num_levels), tail])
    likeness = np.maximum(0.0, np.arange(num_levels + 1) / num_levels - rule.threshold)
    columns = []
    prefix_M: Codes = np.zeros(len(codes_ML), dtype=np.int64)
    goes_on_M = np.ones(len(codes_ML), dtype=np.bool_)
    for level, gain in enumerate(np.diff(likeness).tolist()):
        goes_on_M = goes_on_M & (codes_ML[:, level] != NOT_A_MEMBER)
        prefix_M, num_prefixes = _dense(codes_ML[:, level] if level == 0 else prefix_M * 2**31 + codes_ML[:, level])
        if gain > 0.0:
            id_M = np.where(goes_on_M, prefix_M + 1, NO_ID)
            columns.append(_Column(number, id_M[:num], id_M[num:], float(gain), num_prefixes))
    return columns


def _dense(codes_M: Codes) -> tuple[Codes, int]:
    """Equal codes keep equal numbers, all small; and how many numbers there may be."""
    most = int(codes_M.max(initial=0))
    if most <= 2 * len(codes_M):  # as a rule they are numbered already: sorting would cost more than all the rest
        return codes_M, most + 1
    found, dense_M = np.unique(codes_M, return_inverse=True)
    return dense_M, len(found)
