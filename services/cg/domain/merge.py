"""Several ranked lists into one: weighted reciprocal rank fusion, unique by pin and by content group.

Cormack, Clarke and Büttcher 2009, "Reciprocal rank fusion"; we add a weight per list. Scores of different generators
are not comparable, their ranks are.
"""

from collections.abc import Mapping

from services.cg.domain.pin_index import PinSnapshot
from services.cg.domain.retrieval import Candidate, Generated

RANK_OFFSET = 60.0  # the paper's constant: how slowly the gain falls with rank


def merge(
    generated: Mapping[str, Generated], weights: Mapping[str, float], snapshot: PinSnapshot, num_candidates: int
) -> tuple[Candidate, ...]:
    """At most `num_candidates`, best first; of a content group only the best pin. Equal gains keep the lists' order."""
    gain_by_row: dict[int, float] = {}
    ranks_by_row: dict[int, dict[str, tuple[int, float]]] = {}
    for name, result in generated.items():
        weight = weights.get(name, 1.0)
        rows_and_scores = zip(result.row_K.tolist(), result.score_K.tolist(), strict=True)
        for rank, (row, score) in enumerate(rows_and_scores):
            gain_by_row[row] = gain_by_row.get(row, 0.0) + weight / (RANK_OFFSET + rank)
            ranks_by_row.setdefault(row, {})[name] = (rank, score)
    best_first = sorted(gain_by_row, key=lambda row: -gain_by_row[row])
    return _unique_groups(best_first, ranks_by_row, snapshot, num_candidates)


def _unique_groups(
    rows: list[int],
    ranks_by_row: Mapping[int, Mapping[str, tuple[int, float]]],
    snapshot: PinSnapshot,
    num_candidates: int,
) -> tuple[Candidate, ...]:
    groups = snapshot.columns.group_N
    seen_groups: set[int] = set()
    candidates: list[Candidate] = []
    for row in rows:
        group = int(groups[row])
        if group and group in seen_groups:
            continue
        seen_groups.add(group)
        candidates.append(_candidate(row, ranks_by_row[row], snapshot))
        if len(candidates) == num_candidates:
            break
    return tuple(candidates)


def _candidate(row: int, ranks: Mapping[str, tuple[int, float]], snapshot: PinSnapshot) -> Candidate:
    best = min(ranks, key=lambda name: ranks[name][0])
    rank, score = ranks[best]
    scores = {name: score for name, (_, score) in ranks.items()}
    return Candidate(snapshot.pin_ids[row], best, score, rank, scores, snapshot.group_name(row))
