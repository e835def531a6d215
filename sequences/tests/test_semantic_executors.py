"""Semantic ids: exact, alike for like vectors, the same in any batch."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sequences.engine.residual_quantiser import LIMIT, STEPS, ResidualQuantiser, from_text
from sequences.engine.residual_training import train_codebooks
from sequences.tests.executor_runs import in_parts, run_alone

DIMENSIONS = 6


def clusters(num_vectors: int, seed: int) -> NDArray[np.float32]:
    """Unit vectors around eight centres."""
    random = np.random.default_rng(seed)
    vectors = random.normal(size=(8, DIMENSIONS))[np.arange(num_vectors) % 8]
    vectors = vectors + 0.1 * random.normal(size=vectors.shape)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float32)


QUANTISER = train_codebooks(clusters(200, 3), num_levels=3, num_codes=16, seed=1)


def slow_codes(quantiser: ResidualQuantiser, vector: list[float]) -> list[int]:
    """In whole numbers of Python, which know no rounding."""
    left = [round(value * STEPS) for value in vector]
    codes = []
    for centroids in quantiser.codebooks.tolist():
        far = [sum((a - b) ** 2 for a, b in zip(left, centroid, strict=True)) for centroid in centroids]
        codes.append(far.index(min(far)))
        left = [a - b for a, b in zip(left, centroids[codes[-1]], strict=True)]
    return codes


VECTORS = st.lists(
    st.none() | st.lists(st.floats(-7.5, 7.5, width=32), min_size=DIMENSIONS, max_size=DIMENSIONS), max_size=20
)


@settings(max_examples=50, deadline=None)
@given(VECTORS, st.lists(st.integers(0, 20), max_size=3))
def test_codes_are_the_nearest_centroids_in_any_batch(vectors: list[list[float] | None], borders: list[int]) -> None:
    found = []
    for part in in_parts(vectors, borders):
        columns = {"v": pa.array(part, pa.list_(pa.float32()))}
        answer = run_alone("semantic_id", columns, {"c": "list<int32>"}, {"codebooks": QUANTISER.to_text()})
        assert not answer.failures
        found += answer.columns["c"].to_pylist()
    assert found == [None if vector is None else slow_codes(QUANTISER, vector) for vector in vectors]


@pytest.mark.parametrize(
    ("vector", "reason"),
    [
        ([1.0] * 5, "width 5"),
        ([], "width 0"),
        ([float("nan")] * 6, "finite"),
        ([9.0] * 6, "finite"),
        ([None] * 6, "fin"),
    ],
)
def test_an_unusable_vector_fails_its_row_only(vector: list[float], reason: str) -> None:
    columns = {"v": pa.array([vector, [0.5] * 6], pa.list_(pa.float32()))}
    answer = run_alone("semantic_id", columns, {"c": "list<int32>"}, {"codebooks": QUANTISER.to_text()})
    assert list(answer.failures) == [0]
    assert reason in answer.failures[0]
    assert answer.columns["c"][1].as_py() == slow_codes(QUANTISER, [0.5] * 6)


def test_like_vectors_share_their_first_code_and_levels_come_nearer() -> None:
    vectors = clusters(400, 3)  # the centres that were learned from, other noise
    codes = QUANTISER.codes(vectors)
    centres = np.arange(400) % 8
    for code in np.unique(codes[:, 0]):
        sharing = centres[codes[:, 0] == code]
        assert np.bincount(sharing).max() >= 0.9 * len(sharing)
    errors = []
    for level in range(4):
        near = sum((QUANTISER.codebooks[i][codes[:, i]] / STEPS for i in range(level)), np.zeros_like(vectors))
        errors.append(float(np.square(vectors - near).sum(axis=1).mean()))
    assert errors[0] > 5 * errors[1]
    assert errors[1] > 1.2 * errors[2] > 1.4 * errors[3]


def test_training_is_repeatable_and_survives_text() -> None:
    again = train_codebooks(clusters(200, 3), num_levels=3, num_codes=16, seed=1)
    assert np.array_equal(again.codebooks, QUANTISER.codebooks)
    assert np.array_equal(from_text(QUANTISER.to_text()).codebooks, QUANTISER.codebooks)
    assert not np.array_equal(train_codebooks(clusters(200, 3), 3, 16, seed=2).codebooks, QUANTISER.codebooks)


def test_equal_vectors_leave_codes_unused_and_do_no_harm() -> None:
    quantiser = train_codebooks(np.full((9, 2), 0.25, np.float32), num_levels=2, num_codes=4, seed=0)
    assert quantiser.codes(np.full((1, 2), 0.25, np.float32)).tolist() == [[0, 0]]


@pytest.mark.parametrize("vectors", [np.zeros((3, 2)), np.full((9, 2), np.nan), np.full((9, 2), LIMIT + 1)])
def test_vectors_that_cannot_be_learned_from_are_refused(vectors: NDArray[np.float32]) -> None:
    with pytest.raises(ValueError, match=r"vectors|values"):
        train_codebooks(vectors, num_levels=1, num_codes=4, seed=0)
