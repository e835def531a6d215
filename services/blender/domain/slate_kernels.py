"""The compiled steps of `slate_compiled`: all in one file, as numba's cache does not look at changes of others.

Shapes: N candidates, M = N + tail items, E columns of the similarity rows, W = window - 1, T picks; C, K, S and I as
in `spacing`.
"""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from services.blender.domain.diversity.dpp import EPSILON, RIDGE
from services.blender.domain.diversity.features import TINY
from services.blender.domain.diversity.ssd import ENOUGH_LEFT
from services.blender.domain.diversity.unknown import MEMORY
from services.blender.domain.picks import TIE, Indices, Picks
from services.blender.domain.relevance import Floats
from services.blender.domain.spacing import NO_ID


class Given(NamedTuple):
    """What a slate is filled from."""

    relevance_N: Floats
    index_N: Indices
    source_MD: NDArray[np.floating]  # of the rows: times a factor, with a constant behind
    factor_M: Floats
    constant_M: Floats
    own_M: Floats
    id_KN: Indices
    class_K: Indices
    penalty_SK: Floats
    num_free_I: Indices
    first_slot_I: Indices
    first_penalty_I: Floats
    is_dry_C: NDArray[np.bool_]
    is_dpp: bool
    weight: float
    reach: float  # utility that a candidate may gain on another one by all but relevance


class State(NamedTuple):
    """What changes while it is filled."""

    rows_NE: Floats  # of the candidates that were looked at
    base_N: Floats  # similarity with itself
    reach_NW: Floats  # ssd: the square along each basis; dpp: similarity to each item of the window
    window_WE: Floats  # ssd: the bases; dpp: the rows of the items
    gram_WW: Floats  # dpp: similarities inside the window, 1 on the diagonal of what is empty
    factor_WW: Floats  # dpp: its Cholesky factor, a reciprocal on the diagonal
    placed_SK: Indices
    cost_I: Floats
    count_I: Indices
    bonus_N: Floats
    penalty_N: Floats
    utility_N: Floats
    is_placed_N: NDArray[np.bool_]
    num_looked_at: Indices  # [1]: so many candidates have squares
    mean_novelty: Floats  # [1]: what a candidate of which nothing is known counts as


@njit(cache=True, nogil=True)
def _write_row(given: Given, m: int, row_E: Floats) -> None:
    last = len(row_E) - 1
    for e in range(last):
        row_E[e] = given.source_MD[m, e] * given.factor_M[m]
    row_E[last] = given.constant_M[m]


# Sums may be taken in any order: that is where the vector units come in. NaN never gets here.
@njit(cache=True, nogil=True, fastmath={"reassoc", "contract", "nsz"})
def _dot(a_E: Floats, b_E: Floats) -> float:
    total = 0.0
    for e in range(a_E.shape[0]):
        total += a_E[e] * b_E[e]
    return total


@njit(cache=True, nogil=True, fastmath={"contract"})
def _subtract(from_E: Floats, factor: float, row_E: Floats) -> None:
    """In place, without the arrays in between: making those took more time than all products."""
    for e in range(len(from_E)):
        from_E[e] -= factor * row_E[e]


@njit(cache=True, nogil=True)
def _set_basis(bases_WE: Floats, slot: int, row_E: Floats, own: float) -> None:
    """The part of a row that is orthogonal to all bases; see `SpectrumWindow`."""
    residual_E, reach_W = row_E.copy(), np.empty(len(bases_WE))
    for _ in range(2):
        for w in range(len(bases_WE)):
            reach_W[w] = _dot(bases_WE[w], residual_E)
        for w in range(len(bases_WE)):
            _subtract(residual_E, reach_W[w], bases_WE[w])
        if _dot(residual_E, residual_E) >= ENOUGH_LEFT:
            break
    length = np.sqrt(_dot(residual_E, residual_E) + own)
    bases_WE[slot] = 0.0
    if length > TINY:
        _subtract(bases_WE[slot], -1.0 / length, residual_E)


@njit(cache=True, nogil=True)
def _factorise(gram_WW: Floats, factor_WW: Floats) -> None:
    """Cholesky of the ridged window."""
    for row in range(len(gram_WW)):
        for column in range(row + 1):
            left = gram_WW[row, column] - _dot(factor_WW[row, :column], factor_WW[column, :column])
            if row == column:
                factor_WW[row, row] = 1.0 / np.sqrt(max(left + RIDGE, RIDGE))
            else:
                factor_WW[row, column] = left * factor_WW[column, column]


# Arrays one by one: to hand over a whole state costs more than the sum here.
@njit(cache=True, nogil=True)
def _length(base: float, squares_W: Floats) -> float:
    """See `SpectrumWindow`."""
    square = base
    for w in range(len(squares_W)):
        square -= squares_W[w]
    return np.sqrt(square) if square >= TINY * TINY else 0.0


@njit(cache=True, nogil=True)
def _log_distance(base: float, similarity_W: Floats, factor_WW: Floats, part_W: Floats) -> float:
    """See `WindowedDpp`; `part_W` is memory to work in."""
    square = base
    for w in range(len(part_W)):
        left = similarity_W[w]
        for before in range(w):
            left -= factor_WW[w, before] * part_W[before]
        part_W[w] = left * factor_WW[w, w]
        square -= part_W[w] * part_W[w]
    return float(np.log(max(square, EPSILON)))


@njit(cache=True, nogil=True)
def _push(given: Given, state: State, slot: int, row_E: Floats, own: float) -> None:
    """An item takes the place of the oldest one of the window."""
    if not given.is_dpp:
        _set_basis(state.window_WE, slot, row_E, own)
        return
    state.window_WE[slot] = row_E
    for w in range(len(state.window_WE)):
        state.gram_WW[slot, w] = state.gram_WW[w, slot] = _dot(state.window_WE[w], row_E)
    state.gram_WW[slot, slot] += own
    _factorise(state.gram_WW, state.factor_WW)


@njit(cache=True, nogil=True)
def _set_cost(given: Given, state: State, slot: int) -> None:
    """Of a pin with each id in this slot; see `SpacingWindow`."""
    state.cost_I[:] = 0.0
    state.count_I[:] = 0
    for s in range(state.placed_SK.shape[0]):
        for k in range(state.placed_SK.shape[1]):
            if given.penalty_SK[s, k] > 0.0:
                state.cost_I[state.placed_SK[s, k]] += given.penalty_SK[s, k]
                state.count_I[state.placed_SK[s, k]] += 1
    for i in range(len(state.cost_I)):
        if state.count_I[i] < given.num_free_I[i]:
            state.cost_I[i] = 0.0
        if slot < given.first_slot_I[i]:
            state.cost_I[i] += given.first_penalty_I[i]
    state.cost_I[NO_ID] = 0.0


@njit(cache=True, nogil=True)
def _penalty(given: Given, state: State, i: int) -> float:
    """Over all classes that are not dry runs."""
    total = 0.0
    for k in range(given.id_KN.shape[0]):
        if not given.is_dry_C[given.class_K[k]]:
            total += state.cost_I[given.id_KN[k, i]]
    return total


@njit(cache=True, nogil=True)
def _hardest_class(given: Given, state: State, i: int) -> int:
    cost_C = np.zeros(len(given.is_dry_C))
    for k in range(given.id_KN.shape[0]):
        if not given.is_dry_C[given.class_K[k]]:
            cost_C[given.class_K[k]] += state.cost_I[given.id_KN[k, i]]
    return int(cost_C.argmax())


@njit(cache=True, nogil=True)
def _first_best(given: Given, utility: Floats) -> int:
    least, best = utility.max() - TIE, -1
    for i in range(len(utility)):
        if utility[i] >= least and (best < 0 or given.index_N[i] < given.index_N[best]):
            best = i
    return best


@njit(cache=True, nogil=True)
def _count_dry_moves(given: Given, state: State, utility: Floats, chosen: int, dry_moves_C: Indices) -> None:
    for c in range(len(dry_moves_C)):
        if given.is_dry_C[c]:
            dry_utility = utility.copy()
            for k in range(given.id_KN.shape[0]):
                if given.class_K[k] == c:
                    for i in range(len(utility)):
                        dry_utility[i] -= state.cost_I[given.id_KN[k, i]]
            dry_moves_C[c] += _first_best(given, dry_utility) != chosen


@njit(cache=True, nogil=True)
def _look(given: Given, state: State, first_free: int) -> int:
    """Utilities of all that could win this slot; how many candidates that is, from the first on."""
    best, running, part_W = -np.inf, 0, np.empty(len(state.window_WE))
    for i in range(len(given.relevance_N)):
        if i > first_free and given.relevance_N[i] + given.reach < best:
            break
        running = i + 1
        if i >= state.num_looked_at[0]:
            row_E = state.rows_NE[i]
            _write_row(given, given.index_N[i], row_E)
            state.base_N[i] = _dot(row_E, row_E) + given.own_M[given.index_N[i]]
            for w in range(len(state.window_WE)):
                reach = _dot(state.window_WE[w], row_E)
                state.reach_NW[i, w] = reach if given.is_dpp else reach * reach
            state.num_looked_at[0] = running
        if state.is_placed_N[i]:
            continue
        novelty = state.mean_novelty[0]
        if state.base_N[i] > 0.0 and given.is_dpp:
            novelty = _log_distance(state.base_N[i], state.reach_NW[i], state.factor_WW, part_W)
        elif state.base_N[i] > 0.0:
            novelty = _length(state.base_N[i], state.reach_NW[i])
        state.bonus_N[i] = given.weight * novelty
        state.penalty_N[i] = _penalty(given, state, i)
        state.utility_N[i] = given.relevance_N[i] + state.bonus_N[i] - state.penalty_N[i]
        best = max(best, state.utility_N[i])
    return running


@njit(cache=True, nogil=True)
def _place(given: Given, state: State, slot: int, chosen: int) -> None:
    if state.base_N[chosen] > 0.0:
        novelty = state.bonus_N[chosen] / given.weight
        state.mean_novelty[0] = MEMORY * state.mean_novelty[0] + (1.0 - MEMORY) * novelty
    state.is_placed_N[chosen], state.utility_N[chosen] = True, -np.inf
    if len(state.placed_SK):
        state.placed_SK[1:] = state.placed_SK[:-1].copy()
        state.placed_SK[0] = given.id_KN[:, chosen]
    if len(state.window_WE):
        place = slot % len(state.window_WE)
        _push(given, state, place, state.rows_NE[chosen], given.own_M[given.index_N[chosen]])
        item_E = state.window_WE[place]
        for i in range(state.num_looked_at[0]):
            if not state.is_placed_N[i]:
                reach = _dot(item_E, state.rows_NE[i])
                state.reach_NW[i, place] = reach if given.is_dpp else reach * reach


@njit(cache=True, nogil=True)
def fill_slots(given: Given, state: State, out: Picks) -> None:
    """The whole loop; the picks go into `out`."""
    num_tail = len(given.own_M) - len(given.relevance_N)
    for k in range(num_tail):
        row = len(given.relevance_N) + k
        if len(state.window_WE):
            row_E = np.empty(state.window_WE.shape[1])
            _write_row(given, row, row_E)
            _push(given, state, k % len(state.window_WE), row_E, given.own_M[row])
    first_free = 0
    for t in range(len(out.pick_T)):
        while state.is_placed_N[first_free]:
            first_free += 1
        _set_cost(given, state, t)
        utility = state.utility_N[: _look(given, state, first_free)]
        chosen = _first_best(given, utility)
        _count_dry_moves(given, state, utility, chosen, out.dry_moves_C)
        out.pick_T[t], out.bonus_T[t], out.penalty_T[t] = chosen, state.bonus_N[chosen], state.penalty_N[chosen]
        out.passed_T[t] = first_free
        out.passed_bonus_T[t], out.passed_penalty_T[t] = state.bonus_N[first_free], state.penalty_N[first_free]
        if chosen != first_free and len(given.is_dry_C):
            out.passed_class_T[t] = _hardest_class(given, state, first_free)
        _place(given, state, num_tail + t, chosen)
