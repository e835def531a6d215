"""Several ranked lists into one: weighted reciprocal rank fusion, unique by pin and by content group.

Cormack, Clarke and Büttcher 2009, "Reciprocal rank fusion"; we add a weight per list. Scores of different generators
are not comparable, their ranks are.
Shapes: P places in all lists, R different rows, N merged candidates, G generators.
"""

from collections.abc import Mapping

import numpy as np

from modeling.arrays import Bools, Ints
from services.cg.domain.candidates import Candidates, no_candidates
from services.cg.domain.pin_index import PinSnapshot
from services.cg.domain.retrieval import Generated

RANK_OFFSET = 60.0  # the paper's constant: how slowly the gain falls with rank
NOT_RETURNED = np.iinfo(np.int64).max


def merge(
    generated: Mapping[str, Generated], weights: Mapping[str, float], snapshot: PinSnapshot, num_candidates: int
) -> Candidates:
    """At most `num_candidates`, best first; of a content group only the best pin. Equal gains keep the lists' order."""
    lists = list(generated.values())
    row_P = np.concatenate([each.row_K for each in lists]) if lists else np.zeros(0, dtype=np.int64)
    if not len(row_P):
        return no_candidates()
    rank_P = np.concatenate([np.arange(len(each.row_K)) for each in lists])
    generator_P = np.repeat(np.arange(len(lists)), [len(each.row_K) for each in lists])
    weight_G = np.array([weights.get(name, 1.0) for name in generated])
    row_R, first_R, place_P = np.unique(row_P, return_index=True, return_inverse=True)
    gain_R = np.bincount(place_P, weight_G[generator_P] / (rank_P + RANK_OFFSET))
    best_first = np.lexsort((first_R, -gain_R))
    kept_N = best_first[_is_first_of_group(row_R[best_first], snapshot)][:num_candidates]

    slot_R = np.full(len(row_R), -1)
    slot_R[kept_N] = np.arange(len(kept_N))
    is_kept_P = slot_R[place_P] >= 0
    at = slot_R[place_P[is_kept_P]], generator_P[is_kept_P]
    rank_NG = np.full((len(kept_N), len(lists)), NOT_RETURNED)
    score_NG = np.full(rank_NG.shape, np.nan)
    rank_NG[at] = rank_P[is_kept_P]
    score_NG[at] = np.concatenate([each.score_K for each in lists])[is_kept_P]
    best_N = rank_NG.argmin(axis=1)
    every_N = np.arange(len(kept_N))
    rows = row_R[kept_N].tolist()
    return Candidates(
        pin_ids=[snapshot.pin_ids[row] for row in rows],
        generators=tuple(generated),
        generator_N=best_N,
        score_N=score_NG[every_N, best_N],
        rank_N=rank_NG[every_N, best_N],
        score_by_generator_NG=score_NG,
        content_groups=[snapshot.group_name(row) for row in rows] if snapshot.columns.group_N[rows].any() else (),
    )


def _is_first_of_group(row_R: Ints, snapshot: PinSnapshot) -> Bools:
    """Whether no row before is of the same content group; rows without one all are."""
    group_R = snapshot.columns.group_N[row_R]
    is_first_R: Bools = group_R == 0
    is_first_R[np.unique(group_R, return_index=True)[1]] = True
    return is_first_R
