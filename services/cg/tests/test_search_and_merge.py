"""Search and merge against slow, obvious references."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from services.cg.domain.merge import RANK_OFFSET, merge
from services.cg.domain.pin_index import PinIndex
from services.cg.domain.retrieval import Generated
from services.cg.domain.search import BLOCK_ROWS, best_rows, product_scores
from services.cg.tests.world import pin, vector

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


def test_blockwise_product_is_the_product() -> None:
    random = np.random.default_rng(0)
    vectors = random.normal(size=(BLOCK_ROWS + 100, 8)).astype(np.float32)
    query = random.normal(size=8).astype(np.float32)
    np.testing.assert_allclose(product_scores(vectors, query), vectors @ query, rtol=1e-4, atol=1e-5)


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


def test_index_survives_compaction_with_the_same_pins() -> None:
    index = PinIndex()
    for number in range(3_000):
        index.upsert(pin(number))
    first = index.snapshot()
    for number in range(0, 3_000, 2):
        index.remove(pin(number).pin_id)
    snapshot = index.snapshot()
    assert snapshot.generation > first.generation
    assert len(index) == 1_500
    allowed = snapshot.allowed("", [])
    live = {snapshot.pin_ids[int(row)] for row in np.flatnonzero(allowed)}
    assert live == {pin(number).pin_id for number in range(1, 3_000, 2)}
    row = int(snapshot.rows_of([pin(7).pin_id])[0])
    np.testing.assert_allclose(snapshot.columns.content_NW[row], vector(7), rtol=1e-5)


def test_an_older_snapshot_still_reads_what_it_saw() -> None:
    index = PinIndex()
    index.upsert(pin(1))
    old = index.snapshot()
    index.remove(pin(1).pin_id)
    for number in range(2, 5_000):
        index.upsert(pin(number))
    assert old.columns.is_live_N.tolist() == [True]
    assert old.num_rows == 1
