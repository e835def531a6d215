"""Graph vectors against a full SVD, and what they are for."""

import numpy as np

from modeling.arrays import Floats
from modeling.graph_vectors import fit_content_to_graph, fit_graph_vectors, foretold


def two_tastes(num_users: int = 80, num_pins: int = 40) -> Floats:
    """Even users choose even pins, odd ones odd pins."""
    random = np.random.default_rng(3)
    matrix = (random.random((num_users, num_pins)) < 0.4).astype(np.float32)
    matrix[(np.arange(num_users)[:, None] % 2) != (np.arange(num_pins)[None, :] % 2)] = 0.0
    return matrix


def test_similarities_are_those_of_the_full_decomposition() -> None:
    matrix = (np.random.default_rng(5).random((60, 16)) < 0.3).astype(np.float32)
    found = fit_graph_vectors(matrix, width=8)
    normalised = matrix / np.sqrt(matrix.sum(1, keepdims=True)) / np.sqrt(matrix.sum(0, keepdims=True))
    _, values, right = np.linalg.svd(normalised, full_matrices=False)
    expected = right[1:9].T * values[1:9]
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(found @ found.T, expected @ expected.T, atol=1e-3)


def test_pins_of_one_taste_lie_together_and_unchosen_ones_nowhere() -> None:
    matrix = two_tastes()
    matrix[:, 7] = 0.0
    vectors = fit_graph_vectors(matrix, width=1)
    assert not vectors[7].any()
    same = vectors[0] @ vectors[2:10:2].T
    other = vectors[0] @ vectors[[1, 3, 5, 9]].T
    assert same.min() > 0.9 and other.max() < -0.9


def test_a_pin_nobody_chose_is_placed_by_its_content() -> None:
    random = np.random.default_rng(1)
    content = random.normal(scale=0.1, size=(40, 6)).astype(np.float32)
    content[np.arange(40), np.arange(40) % 2] += 1.0
    graph = fit_graph_vectors(two_tastes(), width=4)
    new = foretold(content, fit_content_to_graph(content, graph))
    np.testing.assert_allclose(np.linalg.norm(new, axis=1), 1.0, atol=1e-5)
    assert (new[::2] @ graph[::2].T).mean() > 0.3 > (new[::2] @ graph[1::2].T).mean()
    assert not foretold(np.zeros((1, 6), np.float32), np.ones((6, 4), np.float32)).any()


def test_small_matrices_give_narrow_vectors() -> None:
    assert fit_graph_vectors(np.eye(3, 5, dtype=np.float32), width=32).shape == (5, 3)
