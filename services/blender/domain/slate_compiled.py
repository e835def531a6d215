"""The greedy loop of the slate for ssd and dpp, compiled: the picks of `greedy`, several times as fast.

Needs numba. The first call in a process reads compiled code from numba's cache, or compiles for some ten seconds.
"""

import numpy as np
from numpy.typing import NDArray

from services.blender.domain.diversity.dpp import WindowedDpp
from services.blender.domain.diversity.features import PinRows, VectorRows
from services.blender.domain.diversity.ssd import SpectrumWindow
from services.blender.domain.greedy import Pool, greedy
from services.blender.domain.picks import TIE, Picks, no_picks
from services.blender.domain.relevance import Floats
from services.blender.domain.slate_kernels import Given, State, fill_slots
from services.blender.domain.spacing import SpacingWindow


def greedy_compiled(pool: Pool, num_picks: int) -> Picks:
    """As `greedy`, which does all but ssd and dpp."""
    if pool.plan.is_off or pool.plan.strategy not in ("ssd", "dpp"):
        return greedy(pool, num_picks)
    num, size, is_dpp = len(pool.relevance_N), pool.plan.window - 1, pool.plan.strategy == "dpp"
    spacing = SpacingWindow(pool.spacing, pool.index_N)
    most_novelty = (WindowedDpp if is_dpp else SpectrumWindow).max_novelty
    given = Given(
        pool.relevance_N,
        pool.index_N.astype(np.int64),
        *_source(pool.rows),
        pool.rows.own_M,
        spacing.id_KN,
        spacing.class_K,
        spacing.penalty_SK,
        spacing.num_free_I,
        spacing.first_slot_I,
        spacing.first_penalty_I,
        np.array([rule.is_dry_run for rule in pool.spacing], dtype=np.bool_),
        is_dpp,
        pool.plan.weight,
        pool.plan.weight * most_novelty + spacing.most_dry_penalty + TIE,
    )
    num_columns = given.source_MD.shape[1] + 1
    state = State(
        np.empty((num, num_columns)),  # memory that is not written is not fetched
        np.zeros(num),
        np.zeros((num, size)),
        np.zeros((size, num_columns)),
        np.eye(size),
        np.eye(size),
        spacing.placed_SK,
        np.zeros(spacing.num_ids),
        np.zeros(spacing.num_ids, dtype=np.int64),
        np.zeros(num),
        np.zeros(num),
        np.zeros(num),
        np.zeros(num, dtype=np.bool_),
        np.zeros(1, dtype=np.int64),
        np.array([most_novelty]),
    )
    picks = no_picks(num_picks, len(pool.spacing))
    fill_slots(given, state, picks)
    return picks


def _source(rows: PinRows) -> tuple[NDArray[np.floating], Floats, Floats]:
    if isinstance(rows, VectorRows):
        return np.ascontiguousarray(rows.vectors_MD), rows.factor_M, rows.constant_M
    return np.ascontiguousarray(rows.rows_ME), np.ones(len(rows.own_M)), np.zeros(len(rows.own_M))
