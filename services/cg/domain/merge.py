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
    for name, result in generated.items():
        weight = weights.get(name, 1.0)
        for rank, row in enumerate(result.row_K.tolist(), start=int(RANK_OFFSET)):
            gain_by_row[row] = gain_by_row.get(row, 0.0) + weight / rank
    best_first = sorted(gain_by_row, key=gain_by_row.__getitem__, reverse=True)
    rows = _unique_groups(best_first, snapshot, num_candidates)
    places = _places(generated, set(rows))
    return tuple(_candidate(row, places[row], snapshot) for row in rows)


def _unique_groups(rows: list[int], snapshot: PinSnapshot, num_candidates: int) -> list[int]:
    """The first row of each content group, and all rows without one."""
    groups = snapshot.columns.group_N[rows].tolist() if rows else []
    seen_groups: set[int] = set()
    kept: list[int] = []
    for row, group in zip(rows, groups, strict=True):
        if group and group in seen_groups:
            continue
        seen_groups.add(group)
        kept.append(row)
        if len(kept) == num_candidates:
            break
    return kept


def _places(generated: Mapping[str, Generated], rows: set[int]) -> dict[int, list[tuple[int, str, float]]]:
    """Rank, generator and score wherever each row was returned."""
    places: dict[int, list[tuple[int, str, float]]] = {row: [] for row in rows}
    for name, result in generated.items():
        for rank, (row, score) in enumerate(zip(result.row_K.tolist(), result.score_K.tolist(), strict=True)):
            if row in rows:
                places[row].append((rank, name, score))
    return places


def _candidate(row: int, places: list[tuple[int, str, float]], snapshot: PinSnapshot) -> Candidate:
    rank, name, score = min(places, key=_rank)
    return Candidate(
        snapshot.pin_ids[row], name, score, rank, {each: value for _, each, value in places}, snapshot.group_name(row)
    )


def _rank(place: tuple[int, str, float]) -> int:
    return place[0]
