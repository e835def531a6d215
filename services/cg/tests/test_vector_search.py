"""The promises of a search, for exact and graph alike, against a slow and obvious reference."""

from collections.abc import Callable

import numpy as np
import pytest

from modeling.arrays import Bools, Floats
from services.cg.domain.index import graph
from services.cg.domain.index.cost_model import CostModel, beam_for
from services.cg.domain.index.exact_search import ExactSearch
from services.cg.domain.index.graph_search import GraphSearch
from services.cg.domain.index.vector_search import VectorSearch

NUM_ROWS, WIDTH, K = 6_000, 16, 50
ALWAYS_GRAPH = CostModel(dense_per_float_s=1.0, gather_per_row_s=1.0)  # exact is never cheaper
ALWAYS_DENSE = CostModel(gather_per_row_s=1.0)
MIN_RECALL = {"exact": 1.0, "exact, dense": 1.0, "graph": 0.98, "graph, chosen": 0.98, "graph and newer rows": 0.98}

New = Callable[[Floats], VectorSearch]
WAYS: dict[str, New] = {
    "exact": lambda _: ExactSearch(CostModel()),
    "exact, dense": lambda _: ExactSearch(ALWAYS_DENSE),
    "graph": lambda vectors_NV: GraphSearch(graph.build(vectors_NV), ALWAYS_GRAPH),
    "graph, chosen": lambda vectors_NV: GraphSearch(graph.build(vectors_NV), CostModel()),
    "graph and newer rows": lambda vectors_NV: GraphSearch(
        graph.build(vectors_NV[: len(vectors_NV) * 3 // 4]), ALWAYS_GRAPH
    ),
}


@pytest.fixture(scope="module")
def vectors_NV() -> Floats:
    random = np.random.default_rng(5)
    centres = random.normal(size=(60, WIDTH))
    vectors = centres[random.integers(0, 60, NUM_ROWS)] + 0.6 * random.normal(size=(NUM_ROWS, WIDTH))
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


@pytest.fixture(scope="module", params=WAYS)
def way(request: pytest.FixtureRequest, vectors_NV: Floats) -> tuple[str, VectorSearch]:
    return request.param, WAYS[request.param](vectors_NV)


def _expected(vectors_NV: Floats, query_V: Floats, is_allowed_N: Bools, k: int) -> list[int]:
    scores = vectors_NV.astype(np.float64) @ query_V
    return [int(row) for row in np.argsort(-scores, kind="stable") if is_allowed_N[row]][:k]


@pytest.mark.parametrize("allowed_share", [1.0, 0.3, 0.01])
def test_k_allowed_rows_are_found_and_they_are_the_nearest(
    way: tuple[str, VectorSearch], vectors_NV: Floats, allowed_share: float
) -> None:
    name, search = way
    random = np.random.default_rng(1)
    recalls = []
    for query_V in vectors_NV[::300]:
        is_allowed_N = random.random(NUM_ROWS) < allowed_share
        found = search.search(vectors_NV, query_V, is_allowed_N, K)
        rows = found.row_K.tolist()
        assert len(rows) == min(K, is_allowed_N.sum()), "k is honoured"
        assert len(set(rows)) == len(rows)
        assert is_allowed_N[rows].all()
        assert min(rows) >= 0
        np.testing.assert_allclose(found.score_K, vectors_NV[rows] @ query_V, atol=1e-5)
        assert (np.diff(found.score_K) <= 0).all()
        recalls.append(len(set(rows) & set(_expected(vectors_NV, query_V, is_allowed_N, K))) / len(rows))
    assert np.mean(recalls) >= MIN_RECALL[name]


def test_more_than_there_is_gives_what_there_is(way: tuple[str, VectorSearch], vectors_NV: Floats) -> None:
    everything = np.ones(NUM_ROWS, dtype=np.bool_)
    found = way[1].search(vectors_NV, vectors_NV[0], everything, NUM_ROWS + 10)
    assert sorted(found.row_K.tolist()) == list(range(NUM_ROWS))


def test_nothing_allowed_or_wanted_gives_nothing(way: tuple[str, VectorSearch], vectors_NV: Floats) -> None:
    nothing = np.zeros(NUM_ROWS, dtype=np.bool_)
    assert len(way[1].search(vectors_NV, vectors_NV[0], nothing, K).row_K) == 0
    assert len(way[1].search(vectors_NV, vectors_NV[0], ~nothing, 0).row_K) == 0


def test_a_query_of_nan_finds_nothing(way: tuple[str, VectorSearch], vectors_NV: Floats) -> None:
    everything = np.ones(NUM_ROWS, dtype=np.bool_)
    assert len(way[1].search(vectors_NV, vectors_NV[0] * np.float32("nan"), everything, K).row_K) == 0


def test_equal_vectors_are_all_found_each_once(way: tuple[str, VectorSearch], vectors_NV: Floats) -> None:
    doubled = vectors_NV.copy()
    doubled[:: NUM_ROWS // 20] = doubled[0]
    search = WAYS[way[0]](doubled)
    found = search.search(doubled, doubled[0], np.ones(NUM_ROWS, dtype=np.bool_), 20)
    assert found.row_K.tolist() == list(range(0, NUM_ROWS, NUM_ROWS // 20))


def test_an_older_snapshot_may_use_a_graph_with_newer_rows(vectors_NV: Floats) -> None:
    search = GraphSearch(graph.build(vectors_NV), ALWAYS_GRAPH)
    old = NUM_ROWS // 2
    found = search.search(vectors_NV[:old], vectors_NV[7], np.ones(old, dtype=np.bool_), K)
    assert len(found.row_K) == K
    assert found.row_K.max() < old


def test_extending_leaves_the_graph_in_use_alone_and_finds_the_new_rows(vectors_NV: Floats) -> None:
    small = graph.build(vectors_NV[:4_000])
    bigger = small.extended(vectors_NV)
    assert (small.num_rows, bigger.num_rows) == (4_000, NUM_ROWS)
    everything = np.ones(NUM_ROWS, dtype=np.bool_)
    for row in (10, 5_000, 5_999):
        assert row in bigger.nearest(vectors_NV[row], everything, 20, 200)
    assert small.nearest(vectors_NV[5_000], everything, 20, 200).max() < 4_000


def test_the_cost_model_keeps_exact_for_few_rows_and_takes_the_graph_for_many() -> None:
    cost = CostModel()
    assert not cost.wants_graph(100_000, 64)
    assert cost.wants_graph(500_000, 64)
    assert cost.gather_s(100_000, 1_000, 64) < cost.dense_s(100_000, 64) < cost.gather_s(100_000, 100_000, 64)
    assert beam_for(100, 0.1) == 10 * beam_for(100, 1.0)
