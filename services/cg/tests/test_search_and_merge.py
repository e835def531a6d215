"""Search and merge against slow, obvious references."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from services.cg.domain.candidates import Candidate
from services.cg.domain.merge import RANK_OFFSET, merge
from services.cg.domain.pin import IndexedPin
from services.cg.domain.pin_compaction import Compaction
from services.cg.domain.pin_index import PinIndex
from services.cg.domain.pin_snapshot import PinFilter
from services.cg.domain.retrieval import Generated
from services.cg.domain.search import best_rows
from services.cg.tests.world import pin, pin_id, vector

FLOATS = st.floats(width=32, allow_nan=True, allow_infinity=True)


@given(st.lists(st.tuples(FLOATS, st.booleans()), max_size=40), st.integers(0, 50))
def test_best_rows_are_the_sorted_allowed_finite_ones(rows: list[tuple[float, bool]], k: int) -> None:
    scores = np.asarray([score for score, _ in rows], dtype=np.float32)
    allowed = np.asarray([is_allowed for _, is_allowed in rows], dtype=np.bool_)
    expected = sorted(
        (row for row in range(len(rows)) if allowed[row] and np.isfinite(scores[row])), key=lambda row: -scores[row]
    )[:k]
    found = best_rows(scores, allowed, k)
    assert [scores[row] for row in found] == [scores[row] for row in expected]
    assert len(set(found.tolist())) == len(found)


@given(st.integers(0, 5_000), st.integers(1, 300), st.floats(0.0, 1.0), st.integers(0, 9))
def test_the_sampled_threshold_loses_nothing(num_rows: int, k: int, allowed_share: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    scores = np.sort(random.normal(size=num_rows)).astype(np.float32)[:: 1 if seed % 2 else -1]
    allowed = random.random(num_rows) < allowed_share
    expected = sorted(np.flatnonzero(allowed).tolist(), key=lambda row: -scores[row])[:k]
    assert best_rows(scores, allowed, k).tolist() == expected


@settings(max_examples=50)
@given(st.lists(st.permutations(range(12)), min_size=1, max_size=4), st.integers(1, 15))
def test_merge_is_unique_by_pin_and_group_and_ordered_by_fused_rank(lists: list[list[int]], count: int) -> None:
    index = PinIndex()
    for number in range(12):
        index.upsert(pin(number, content_group=f"group-{number}" if number < 10 else "twins"))
    generated = {
        f"g{place}": Generated(np.asarray(rows[:8]), np.linspace(1, 0, len(rows[:8]), dtype=np.float32))
        for place, rows in enumerate(lists)
    }
    weights = {name: 1.0 + place for place, name in enumerate(generated)}
    merged = merge(generated, weights, index.snapshot(), count)
    gains = {
        candidate.pin_id: sum(
            weights[name] / (RANK_OFFSET + result.row_K.tolist().index(row))
            for name, result in generated.items()
            if (row := int(candidate.pin_id[-3:])) in result.row_K.tolist()
        )
        for candidate in merged
    }
    assert len(merged) <= count
    assert len({candidate.pin_id for candidate in merged}) == len(merged)
    assert len({candidate.content_group for candidate in merged}) == len(merged)
    assert sorted(gains.values(), reverse=True) == list(gains.values())


@settings(max_examples=100)
@given(st.lists(st.permutations(range(12)), max_size=4), st.integers(1, 15), st.integers(0, 9))
def test_merge_is_what_maps_and_loops_would_make_of_it(lists: list[list[int]], count: int, seed: int) -> None:
    index, random = PinIndex(), np.random.default_rng(seed)
    for number in range(12):
        index.upsert(pin(number, content_group=["", "", "twins", "thirds"][number % 4]))
    snapshot = index.snapshot()
    generated = {
        f"g{place}": Generated(np.asarray(rows[: 3 + place]), random.normal(size=3 + place).astype(np.float32))
        for place, rows in enumerate(lists)
    }
    weights = {name: float(random.integers(1, 3)) for name in generated}
    gains: dict[int, float] = {}
    places: dict[int, dict[str, tuple[int, float]]] = {}
    for name, result in generated.items():
        for rank, (row, score) in enumerate(zip(result.row_K.tolist(), result.score_K.tolist(), strict=True)):
            gains[row] = gains.get(row, 0.0) + weights[name] / (RANK_OFFSET + rank)
            places.setdefault(row, {})[name] = (rank, score)
    expected, groups = list[Candidate](), set[str]()
    for row in sorted(gains, key=lambda row: -gains[row]):
        group = snapshot.group_name(row)
        best = min(places[row], key=lambda name: places[row][name][0])
        if group and group in groups:
            continue
        groups.add(group)
        rank, score = places[row][best]
        scores = {name: place[1] for name, place in places[row].items()}
        expected.append(Candidate(snapshot.pin_ids[row], best, score, rank, scores, group))
    assert list(merge(generated, weights, snapshot, count)) == expected[:count]


def test_index_survives_compaction_with_the_same_pins() -> None:
    index = PinIndex()
    for number in range(3_000):
        index.upsert(pin(number))
    first = index.snapshot()
    for number in range(0, 3_000, 2):
        index.remove(pin(number).pin_id)
    assert index.wants_compaction()
    compaction = index.begin_compaction()
    compaction.run()
    index.remove(pin(1).pin_id)
    index.upsert(pin(3, quality_score=0.9))
    index.upsert(pin(3_000))
    assert index.finish_compaction(compaction)
    assert not index.wants_compaction()
    snapshot = index.snapshot()
    assert snapshot.generation > first.generation
    assert len(index) == 1_500
    allowed = snapshot.allowed(PinFilter())
    live = {snapshot.pin_ids[int(row)] for row in np.flatnonzero(allowed)}
    assert live == {pin(number).pin_id for number in [*range(3, 3_000, 2), 3_000]}
    row = int(snapshot.rows_of([pin(7).pin_id])[0])
    np.testing.assert_allclose(snapshot.columns.content_NW[row], vector(7), rtol=1e-5)


def test_the_same_pin_again_changes_nothing() -> None:
    index = PinIndex()
    index.upsert(pin(1))
    before = index.snapshot().num_rows
    index.upsert(pin(1))
    assert index.snapshot().num_rows == before
    index.upsert(pin(1, quality_score=0.7))
    assert (index.snapshot().num_rows, len(index)) == (before + 1, 1)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["add", "remove", "begin", "finish"]), st.integers(0, 9)), max_size=60))
def test_index_is_what_a_dict_would_be_whatever_is_compacted_when(steps: list[tuple[str, int]]) -> None:
    index = PinIndex()
    expected: dict[str, IndexedPin] = {}
    compaction: Compaction | None = None
    for step, (action, number) in enumerate(steps):
        if action == "add":
            expected[pin_id(number)] = pin(number, created_time_ms=step, content_group=f"group-{number % 3}")
            index.upsert(expected[pin_id(number)])
        elif action == "remove":
            assert index.remove(pin_id(number)) == (expected.pop(pin_id(number), None) is not None)
        elif action == "begin":
            compaction = index.begin_compaction()
            compaction.run()
        elif compaction is not None:
            index.finish_compaction(compaction)
            compaction = None
    snapshot = index.snapshot()
    rows = np.flatnonzero(snapshot.allowed(PinFilter()))
    found = {snapshot.pin_ids[row]: int(snapshot.columns.created_ms_N[row]) for row in rows.tolist()}
    assert found == {name: item.created_time_ms for name, item in expected.items()}
    assert all(snapshot.row_of[snapshot.pin_ids[row]] == row for row in rows.tolist())
    groups = {item.content_group for item in expected.values()}
    assert snapshot.num_duplicates == len(expected) - len(groups)


def test_an_older_snapshot_still_reads_what_it_saw() -> None:
    index = PinIndex()
    index.upsert(pin(1))
    old = index.snapshot()
    index.remove(pin(1).pin_id)
    for number in range(2, 5_000):
        index.upsert(pin(number))
    assert old.columns.is_live_N.tolist() == [True]
    assert old.num_rows == 1


def test_a_pin_replaced_after_the_snapshot_is_found_where_the_snapshot_has_it() -> None:
    index = PinIndex()
    index.upsert(pin(1))
    index.upsert(pin(2))
    old = index.snapshot()
    for quality in (0.1, 0.2, 0.3):
        index.upsert(pin(1, quality_score=quality))
    index.remove(pin_id(2))
    assert old.rows_of([pin_id(1), pin_id(9)]).tolist() == [0, -1]
    assert index.snapshot().rows_of([pin_id(1), pin_id(2)]).tolist() == [4, -1]
