"""The ranker's verdict by column. Shapes: P scored pins, H heads, N candidates."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.blender.domain.candidates import Candidates, Doubles


@dataclass(frozen=True, eq=False)
class Scores:
    """Of pins, each once; a head that a pin lacks is NaN."""

    pin_ids: Sequence[str]
    score_P: Doubles
    heads: Sequence[str]
    score_by_head_PH: Doubles

    def rows_of(self, pin_ids: Sequence[str]) -> NDArray[np.intp]:
        """Row of each pin [N]; -1 where it was not scored."""
        row_by_pin = {pin_id: row for row, pin_id in enumerate(self.pin_ids)}
        return np.array([row_by_pin.get(pin_id, -1) for pin_id in pin_ids], dtype=np.intp)


def falling_evenly(pin_ids: Sequence[str]) -> Scores:
    """From 1 on, in the order given."""
    num = max(1, len(pin_ids))
    return Scores(pin_ids, 1.0 - np.arange(len(pin_ids)) / num, (), np.zeros((len(pin_ids), 0)))


def in_order(candidates: Candidates, scores: Scores, first_place: int) -> Candidates:
    """Those that have a score, the best first; equal ones in the order given, scores that are not finite last.

    `first_place` is the session's first free position.
    """
    row_N = scores.rows_of(candidates.pin_ids)
    scored = np.flatnonzero(row_N >= 0)
    score = scores.score_P[row_N[scored]]
    best_first = np.argsort(np.where(np.isfinite(score), -score, np.inf), kind="stable")
    rows = row_N[scored[best_first]]
    taken = candidates.take(scored[best_first])
    return taken.ranked(scores.score_P[rows], scores.heads, scores.score_by_head_PH[rows], first_place)
