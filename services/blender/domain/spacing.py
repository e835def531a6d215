"""Soft spacing: a candidate loses utility for each of its like that stands close before it. Nothing is filtered.

Shapes: N candidates, C classes, S slots that the longest class looks back.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from services.blender.domain.relevance import Floats

NOT_A_MEMBER = -1
Kernel = Literal["inverse", "exponential", "step"]


@dataclass(frozen=True)
class SpacingRule:
    """One class over the candidates of one slate.

    `codes_N` is equal for pins that should stand apart and `NOT_A_MEMBER` where the class does not apply;
    `tail_codes` are those of the items placed before, oldest first. `penalty` is in standard deviations of relevance.
    """

    name: str
    codes_N: NDArray[np.int64]
    tail_codes: Sequence[int]
    penalty: float
    window: int
    kernel: Kernel = "inverse"
    decay: float = 3.0
    is_dry_run: bool = False

    def weights(self) -> Floats:
        """Penalty at distance 1, 2, .. window."""
        distance = np.arange(1, self.window + 1, dtype=np.float64)
        by_kernel: dict[str, Floats] = {
            "inverse": 1.0 / distance,
            "exponential": np.exp(-(distance - 1.0) / self.decay),
            "step": np.ones_like(distance),
        }
        return self.penalty * by_kernel[self.kernel]


class SpacingWindow:
    """What stood in the last slots, and what each candidate would lose in the next one."""

    def __init__(self, rules: Sequence[SpacingRule], num_candidates: int) -> None:
        self.names = [rule.name for rule in rules]
        num_slots = max((rule.window for rule in rules), default=0)
        self._codes_CN: NDArray[np.int64] = (
            np.stack([rule.codes_N for rule in rules]) if rules else np.zeros((0, num_candidates), dtype=np.int64)
        )
        self._is_like_SCN = np.zeros((num_slots, len(rules), num_candidates))
        self._weights_SC: Floats = np.zeros((num_slots, len(rules)))
        for column, rule in enumerate(rules):
            self._weights_SC[: rule.window, column] = rule.weights()
        self._is_applied_C = np.array([not rule.is_dry_run for rule in rules], dtype=np.float64)
        self._slot = 0
        self._zeros_N: Floats = np.zeros(num_candidates)
        for codes_C in zip(*(rule.tail_codes for rule in rules), strict=True):
            self._push(np.array(codes_C, dtype=np.int64))

    def penalty_N(self) -> Floats:
        """Utility that each candidate would lose in the next slot, over all classes that are not dry runs."""
        if not len(self._codes_CN) or not len(self._weights_SC):
            return self._zeros_N
        weights_SC = self._by_slot_SC() * self._is_applied_C
        result_N: Floats = weights_SC.ravel() @ self._is_like_SCN.reshape(weights_SC.size, -1)
        return result_N

    def penalty_by_class_C(self, index: int) -> Floats:
        """What candidate `index` would lose to each class in the next slot; nothing to a dry run."""
        lost_C: Floats = (self._by_slot_SC() * self._is_like_SCN[:, :, index]).sum(axis=0)
        return lost_C * self._is_applied_C

    def dry_penalty_N(self, column: int) -> Floats:
        """What a dry-run class would take from each candidate in the next slot."""
        lost_N: Floats = self._by_slot_SC()[:, column] @ self._is_like_SCN[:, column, :]
        return lost_N

    def place(self, index: int) -> None:
        """Candidate `index` takes the next slot."""
        self._push(self._codes_CN[:, index])

    def _by_slot_SC(self) -> Floats:
        """Weights in the order of the ring: the slot written last is at distance 1."""
        num_slots = len(self._weights_SC)
        distance_S = (self._slot - 1 - np.arange(num_slots)) % num_slots
        return self._weights_SC[distance_S]

    def _push(self, codes_C: NDArray[np.int64]) -> None:
        if not len(self._weights_SC):
            return
        is_like_CN = (self._codes_CN == codes_C[:, None]) & (codes_C != NOT_A_MEMBER)[:, None]
        self._is_like_SCN[self._slot] = is_like_CN
        self._slot = (self._slot + 1) % len(self._weights_SC)
